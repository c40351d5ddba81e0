"""The measurement nearest to a paper's scale, by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmark import store
from benchmark.leaderboard import all_profiles, joining, reproduction
from benchmark.leaderboard.render import reproduction_markdown


def line(number: str = "xnn-001", **values: str) -> dict[str, str]:
    """A line of a profile's reproduction.csv, measured."""
    known = {
        "id": number,
        "paper": number.split("-")[0],
        "measured": "1",
        "n_seeds": "1",
        "verdict": "holds",
        "network": "the paper's",
        "train_images": "4000",
        "width": "0.5",
        "epochs": "10",
    }
    return reproduction.EMPTY | known | values


def not_run(why: str, number: str = "xnn-001") -> dict[str, str]:
    return line(number, measured="", verdict="not run", network="", why=why)


def nearest(**profiles: dict[str, str]) -> dict[str, str]:
    tables = {name: pd.DataFrame([one]) for name, one in profiles.items()}
    (found,) = all_profiles.nearest(tables).to_dict("records")
    return found


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"network": "another", "train_images": "60000"}, {}),
        ({"width": "1", "epochs": "90"}, {"train_images": "60000"}),
        ({"epochs": "90", "n_seeds": "9"}, {"width": "1"}),
        ({"n_seeds": "9"}, {"epochs": "11"}),
        ({}, {"n_seeds": "2"}),
        ({"train_images": "", "width": "", "epochs": ""}, {}),
    ],
)
def test_the_nearer_one_is_taken(a, b):
    assert nearest(a=line(**a), b=line(**b))["profile"] == "b"
    assert nearest(b=line(**b), a=line(**a))["profile"] == "b"


def test_its_own_verdict_comes_with_it():
    far = line(verdict="holds", measured="1")
    near = line(verdict="does not hold", measured="2", train_images="60000")
    found = nearest(far=far, near=near)
    assert (found["verdict"], found["measured"]) == ("does not hold", "2")


def test_what_no_profile_measures_says_what_the_nearest_lacks():
    data, network, experiment = joining.NOT_RUN.values()
    reason = lambda *whys: nearest(
        **{f"p{i}": not_run(why) for i, why in enumerate(whys)}
    )["why"]
    assert reason(data, network) == "its network is in no profile here"
    assert reason(network, data) == "its network is in no profile here"
    assert reason(experiment, data) == "its experiment is in no profile here"
    assert reason(data, data) == "its data set is in no profile here"
    assert reason("a recipe, not a result") == "a recipe, not a result"
    found = nearest(a=not_run(data), b=line())
    assert (found["profile"], found["why"]) == ("b", "")


def test_counts_by_paper():
    lines = [
        line("xnn-001"),
        line("xnn-002", verdict="does not hold", network="another"),
        line("xnn-003", verdict="undecided"),
        not_run("never", "cladec-001"),
    ]
    found = all_profiles.nearest({"p": pd.DataFrame(lines)})
    xnn, cladec, every = all_profiles.counts(found).to_dict("records")
    assert list(xnn.values()) == ["xnn", 3, 3, 1, 1, 1, 0, 1]
    assert list(cladec.values()) == ["cladec", 1, 0, 0, 0, 0, 1, 0]
    assert list(every.values()) == ["all", 4, 3, 1, 1, 1, 1, 1]
    text = reproduction_markdown.render_all(found)
    assert "Of 4 published numbers 3 are measured: 1 agree, 1 differ, 1 are" in text
    assert "| all | 4 | 3 | 1 | 1 | 1 | 1 | 1 |" in text
    assert "| cladec | never | 1 |" in text


def test_tables_of_another_version_are_named(tmp_path):
    folder = tmp_path / "quick"
    folder.mkdir()
    (folder / "reproduction.csv").write_text("id,paper\n")
    with pytest.raises(store.StoreError, match="another version; run `glassbench"):
        all_profiles.read(tmp_path)
