"""Every metric says in words what it asks, its range and its weakness."""

from dataclasses import asdict

import pytest

from benchmark.api import Explanation
from benchmark.leaderboard.render import page
from benchmark.methods.registry import metrics
from benchmark.metrics.glossary import entry, family


@pytest.mark.parametrize("spec", metrics().values(), ids=lambda spec: spec.name)
def test_every_metric_is_in_the_glossary(spec):
    found = entry(spec)
    assert found.title[0].isupper() and "_" not in found.title
    assert found.question.endswith("?") and len(found.question) <= 120
    assert found.formula and found.range and found.weakness
    assert len(found.weakness.split()) >= 5


def test_no_text_of_the_page_shows_a_backtick():
    entries = [asdict(entry(spec)) for spec in metrics().values()]
    texts = [text for fields in entries for text in fields.values()]
    assert sum("`" in text for text in texts) > 5
    assert not [text for text in texts if "`" in page.code(text)]


def test_titles_are_distinct():
    titles = [entry(spec).title for spec in metrics().values()]
    assert len(set(titles)) == len(titles)


def test_an_entry_is_what_the_docstring_says():
    found = entry(metrics()["gini"])
    assert found.title == "Sparseness (Gini index)"
    assert found.question == "How few pixels carry the map?"
    assert found.formula.startswith("sum_k (2k - d - 1) a_(k)")
    assert (found.range, found.better) == ("0 to 1", "higher")
    assert found.weakness.startswith("Looks at the map alone")
    assert family(metrics()["gini"]) == "complexity"


def test_errors_are_no_part_of_the_weakness():
    found = entry(metrics()["occlusion_delta_accuracy"])
    assert "ValueError" not in found.weakness + found.range
    assert "Raises" not in found.formula


@pytest.mark.parametrize(
    "doc", [None, "", "Just a title.", "Title. Question?\n\nformula"]
)
def test_another_form_is_refused_in_a_line(doc):
    from dataclasses import replace

    def bare(e: Explanation, target, batch, rng):
        return e.heatmaps

    bare.__doc__ = doc
    with pytest.raises(ValueError, match="must begin 'Title. Question\\?'"):
        entry(replace(metrics()["gini"], function=bare))
