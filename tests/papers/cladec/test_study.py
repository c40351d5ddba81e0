"""What people's words and choices score, by hand."""

import pandas as pd
import pytest
from scipy.stats import binomtest

from benchmark.papers.cladec import study

PUBLISHED = pd.DataFrame(
    [("concept=shape; not replicable", 66.0), ("concept=logo; not replicable", 15.0)],
    columns=["setting", "value"],
)


def lines(answers):
    frame = pd.DataFrame(
        answers, columns=["stage", "answer", "concepts", "reference", "closer"]
    )
    found = study.score(frame, PUBLISHED)
    return {(one.measure, one.of): one for one in found}


def test_words_speak_of_concepts():
    text = "AI preserves the shape, but erases the patterns and also the zipper"
    assert study.concepts(text) == {"shape", "pattern_or_texture", "feature"}
    assert study.concepts("Less information, all is fine") == set()  # not `form`
    assert study.concepts("SHARPER; the Logo is gone") == {"sharpness", "logo"}


def test_codes_by_hand_go_before_words():
    assert study.concepts("the shape", "logo; depth") == {"logo", "depth"}
    assert study.concepts("the shape", "none") == set()
    with pytest.raises(ValueError, match="'logoo' is no concept; they are shape"):
        study.concepts("", "logoo")


def test_every_concept_of_the_paper_is_counted():
    from benchmark.jobs.study import _reported

    reported = _reported("cladec")
    printed = reported[reported["setting"].str.contains("not replicable")]
    concepts = printed["setting"].str.extract("concept=(.*);")[0]
    assert set(concepts) == set(study.WORDS)
    assert study._published(reported, "shape") == "66"


def test_scores_by_hand():
    ten = "the shape is kept but one two three four five"
    found = lines(
        [
            ("words", ten, "", None, None),
            ("words", "logo gone", "", None, None),
            ("words", "nothing", "shape", None, None),
            ("sides", "A", "", "A", "A"),
            ("sides", "B", "", "A", "B"),
            ("sides", "A", "", "B", "B"),
            ("sides", "No difference", "", "B", "B"),
        ]
    )
    shape = found["replies with concept, %", "shape"]
    assert shape.value == pytest.approx(200 / 3) and shape.published == "66"
    wilson = binomtest(2, 3).proportion_ci(0.95, "wilson")
    assert (shape.low, shape.high) == pytest.approx(
        (100 * wilson.low, 100 * wilson.high)
    )
    assert found["coded by hand, %", ""].value == pytest.approx(100 / 3)
    assert found["words of a reply", ""].value == pytest.approx((10 + 2 + 1) / 3)
    assert found["replies of 10 to 100 words, %", ""].value == pytest.approx(100 / 3)
    assert found["RefAE is closer, %", "of those decided"].value == pytest.approx(
        100 / 3
    )
    right = found["as the squared error says, %", "of those decided"]
    assert (right.value, right.n) == (pytest.approx(200 / 3), 3)
    assert found["no difference, %", ""].value == 25


def test_forms_take_pairs_in_turn():
    seen = [list(study._turn(form, 2, 5)) for form in range(5)]
    assert seen == [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]]
