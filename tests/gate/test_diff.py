"""``glassbench diff``: what each kind of difference is called, where rows come from, how it is shown."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pandas as pd
import pytest

from benchmark import store
from benchmark.cli import main
from benchmark.gate import diff, picture, show, sources
from benchmark.gate.diff import (
    FAIL_ON,
    KINDS,
    _facts,
    _variance,
    _variances,
    compare,
    fails,
    kinds,
    reproduced,
    same_machine,
)
from benchmark.utils import plot_style
from benchmark.utils.near_names import UnknownName
from tests.helpers.leaderboard_inputs import EVIL, inputs
from tests.helpers.places import move_root
from tools.gate_rates import History

PROFILE = "offline"


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return inputs()[0]


@pytest.fixture(scope="module")
def worse() -> pd.DataFrame:
    """A method that got worse on one network, on networks that are nearly the same."""
    history = History("worse", methods=4)
    return compare(
        history.old(),
        history.new(0.95, history.where(method="method b", dataset="digits"), 8),
    )


def changed(rows: pd.DataFrame, where: pd.Series, **values: object) -> pd.DataFrame:
    out = rows.copy()
    for column, value in values.items():
        out.loc[where, column] = value
    return out


def cell(
    rows: pd.DataFrame, metric: str = "gini", method: str = "Grad-CAM"
) -> pd.Series:
    """The three rows of one cell."""
    return (
        (rows["dataset"] == "digits")
        & (rows["target"] == "cnn")
        & (rows["method"] == method)
        & (rows["metric"] == metric)
    )


def only(found: pd.DataFrame) -> pd.Series:
    """The one line that is not unchanged."""
    (line,) = [line for _, line in found[found["kind"] != "unchanged"].iterrows()]
    return line


def source(
    rows: pd.DataFrame, name: str = "HEAD", **provenance: object
) -> sources.Source:
    return sources.Source(name, rows, provenance)


# --------------------------------------------------------------------------------------------- kinds


def test_equal_rows_are_unchanged(rows):
    shuffled = rows.sample(frac=1, random_state=0)
    found = compare(rows, shuffled)
    assert (
        set(found["kind"]) == {"unchanged"}
        and not found["moved"].any()
        and found["errors"].isna().all()
    )
    assert list(found.index) == list(range(len(found)))
    assert len(found) == len(
        rows[rows["status"] == "ok"].drop_duplicates(list(store.ROW_KEYS[:-1]))
    )
    assert not fails(found, KINDS.keys() - {"unchanged"}) and not len(
        reproduced(found, exact=True)
    )


def test_the_seventh_digit_counts_and_no_further(rows):
    where = cell(rows) & (rows["seed"] == 0)
    seventh, tenth = (
        changed(rows, where, value=rows.loc[where, "value"] * (1 + by))
        for by in (1e-6, 1e-10)
    )
    assert not compare(rows, tenth)["moved"].any()
    found = compare(rows, seventh)
    assert found["moved"].sum() == 1 and set(found["kind"]) == {"unchanged"}
    assert len(reproduced(found, exact=True)) == 1 and not len(
        reproduced(found, exact=False)
    )


def test_exact_survives_the_file(rows, tmp_path):
    store.write_rows(tmp_path / "rows.csv", rows)
    assert not compare(rows, store.read_rows(tmp_path / "rows.csv"))["moved"].any()


def test_lost_and_new_methods(rows):
    without = rows[rows["method"] != "Grad-CAM"]
    lost, new = compare(rows, without), compare(without, rows)
    assert set(lost.loc[lost["method"] == "Grad-CAM", "kind"]) == {"lost"} and fails(
        lost
    )
    assert set(lost.loc[lost["method"] == "Grad-CAM", "why"]) == {"no row"}
    assert set(new.loc[new["method"] == "Grad-CAM", "kind"]) == {"new"} and not fails(
        new
    )
    assert not len(reproduced(new, exact=True)) and len(reproduced(lost, exact=True))


@pytest.mark.parametrize(
    ("seeds", "said"),
    [((0, 1, 2), "failed: ImportError"), ((1,), "seed 1: failed: ImportError")],
)
def test_what_no_longer_ran_is_lost_for_the_reason_in_its_row(rows, seeds, said):
    """Given seeds of a method that have rows, then only one of track ``unknown`` each: its cells
    are lost, and say why."""
    cell = {"method": "Grad-CAM", "dataset": "digits", "target": "cnn"}
    mine = rows["seed"].isin(seeds)
    for column, value in cell.items():
        mine &= rows[column].eq(value)
    never = rows[mine].drop_duplicates("seed")
    never = never.assign(
        track="unknown",
        metric="explanation",
        metric_setting="",
        value=np.nan,
        status="failed",
        reason="ImportError",
    )
    found = compare(rows, pd.concat([rows[~mine], never]))
    lost = found[found["kind"] == "lost"]
    assert set(lost["why"]) == {said}
    assert len(lost) == rows[mine & rows["status"].eq("ok")]["metric"].nunique() + 1
    assert set(found["kind"]) == {"lost", "unchanged"}
    assert not len(compare(never, never))


def test_a_lost_seed_is_named_and_the_others_compared(rows):
    found = compare(rows, rows[~(cell(rows) & (rows["seed"] == 1))])
    line = only(found)
    assert (line["kind"], line["seeds"], line["why"]) == (
        "lost",
        1,
        "seed 1: no row",
    ) and fails(found)
    assert line["old"] == rows.loc[cell(rows) & (rows["seed"] == 1), "value"].item()
    assert len(found) == len(compare(rows, rows)) + 1


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (
            {"status": "failed", "reason": "out of memory", "value": np.nan},
            "failed: out of memory",
        ),
        (
            {"status": "not applicable", "reason": "no maps", "value": np.nan},
            "not applicable: no maps",
        ),
        ({"value": np.nan}, "not a number"),
    ],
)
def test_what_is_no_number_any_more_is_lost(rows, values, why):
    line = only(found := compare(rows, changed(rows, cell(rows), **values)))
    assert (line["kind"], line["why"]) == ("lost", why) and fails(found)
    assert only(compare(changed(rows, cell(rows), **values), rows))["kind"] == "new"


def test_what_failed_before_and_fails_again_is_no_difference(rows):
    broken = changed(rows, cell(rows), status="failed", reason="a", value=np.nan)
    again = changed(rows, cell(rows), status="failed", reason="b", value=np.nan)
    assert set(compare(broken, again)["kind"]) == {"unchanged"}


def test_a_new_version_of_a_metric_is_never_compared_and_no_pass(rows):
    gini = rows["metric"] == "gini"
    found = compare(rows, changed(rows, gini, metric_version=2, value=0.0))
    assert set(found.loc[found["metric"] == "gini", "kind"]) == {"re-baselined"}
    assert set(found.loc[found["metric"] == "gini", "why"]) == {"version 1 -> 2"}
    assert (
        not fails(found, FAIL_ON)
        and fails(found, ("re-baselined",))
        and len(reproduced(found, exact=False))
    )
    assert show.verdict(found, FAIL_ON).startswith("not a pass: ")
    back = compare(changed(rows, gini, metric_version=2), rows)
    assert set(back.loc[back["metric"] == "gini", "why"]) == {"version 2 -> 1"}


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("n", 63, "images: 64 -> 63"),
        ("unit", "share", "unit: fraction -> share"),
        ("better", "lower", "better: higher -> lower"),
    ],
)
def test_another_meaning_under_the_same_version_is_unverified(rows, column, value, why):
    line = only(found := compare(rows, changed(rows, cell(rows), **{column: value})))
    assert (
        line["kind"] == "unverified"
        and line["why"] == f"{why} with the same version of the metric"
        and fails(found)
    )


def test_one_seed_borrows_from_another_profile_or_is_unverified(rows):
    one = rows[rows["seed"] == 0].assign(profile="quick")
    worse = changed(one, cell(one), value=one.loc[cell(one), "value"] - 0.5)
    alone = only(compare(one, worse))
    assert (
        alone["kind"] == "unverified"
        and alone["why"] == "the spread between seeds of this metric is not known"
    )
    borrowed = only(compare(one, worse, rows))
    assert (
        borrowed["kind"] == "regression"
        and borrowed["borrowed"]
        and borrowed["errors"] < 0
    )


def test_direction(rows):
    """A higher average drop is worse, a higher gini better."""
    for metric, kind in (("average_drop", "regression"), ("gini", "improvement")):
        line = only(
            compare(
                rows,
                rows.assign(
                    value=rows["value"] + np.where(cell(rows, metric), 50.0, 0.0)
                ),
            )
        )
        assert line["kind"] == kind and line["metric"] == metric


def test_counts_are_judged_relative_to_their_size():
    history = History("counts", methods=4)
    old, new = (
        history.old().assign(unit="nodes"),
        history.new(0.95).assign(unit="nodes"),
    )
    there = (
        compare(old, new)
        .set_index(["dataset", "method", "metric"])["errors"]
        .sort_index()
    )
    scaled = [
        frame.assign(
            value=frame["value"] * np.where(frame["method"] == "method a", 1000, 1)
        )
        for frame in (old, new)
    ]
    np.testing.assert_allclose(
        compare(*scaled)
        .set_index(["dataset", "method", "metric"])["errors"]
        .sort_index(),
        there,
    )


def test_a_metric_without_any_spread_is_no_basis(rows):
    """Train accuracy is 100 for all seeds of all networks: rounding errors are no spread."""
    accuracy = rows["metric"] == "train_accuracy"
    found = compare(rows, changed(rows, accuracy, value=99.5))
    assert set(found.loc[found["metric"] == "train_accuracy", "kind"]) == {"unverified"}


@pytest.mark.parametrize("commit", ["0abcdef", "fedcba9"])
def test_a_revision_is_named_with_its_commit_unless_it_is_one(
    monkeypatch, rows, tmp_path, commit
):
    """Git says what HEAD is; what is named by its commit needs no more."""
    text = rows.to_csv(index=False)

    def ask(root, command, *arguments):
        if command == "rev-parse":
            return f"{commit}\n".encode(), ""
        return text.encode() if "rows" in arguments[-1] else b"", ""

    monkeypatch.setattr(sources.git, "ask", ask)
    paths = store.Paths(PROFILE, tmp_path)
    assert (
        sources.load("HEAD", paths).name == f"HEAD ({commit})"
        and sources.load(commit, paths).name == commit
    )
    found = sources.load("HEAD", paths)
    assert found.provenance == {} and len(found.rows) == len(rows)


def pairs(x: list[float], y: list[float], **facts: str) -> list[tuple[dict, dict]]:
    row = {"unit": "nodes", "better": "higher"} | facts
    return [
        tuple(row | {"value": value} for value in pair)
        for pair in zip(x, y, strict=True)
    ]


def test_facts_of_pairs_by_hand():
    found = _facts(pairs([2.0, 4.0], [5.0, 10.0], better="lower"))
    assert found == {
        "moved": True,
        "scale": 3.0,
        "gain": -1.5,
        "dof": 2,
        "variance": (2 + 12.5) / 2 / 9,
        "pair_variance": 4.5 / 9,
    }
    assert (
        _facts(pairs([2.0, 4.0], [5.0, 10.0], unit="percent"))["gain"] == 4.5
    )  # as it is
    assert (
        _facts(pairs([0.0, 0.0], [3.0, 5.0]))["scale"] == 4
    )  # nothing before: the size of what is now
    assert _facts(pairs([0.0, 0.0], [0.0, 0.0]))["scale"] == 1
    assert _facts(pairs([-2.0, -4.0], [0.0, 0.0]))["scale"] == 3
    assert (
        not _facts(pairs([2.0, 4.0], [2.0, 4.0]))["moved"]
        and _facts(pairs([2.0, 4.0], [2.0, 5.0]))["moved"]
    )


def test_the_direction_is_that_of_every_seed_by_the_digits_that_are_written():
    direction = lambda old, new, **facts: diff._direction(pairs(old, new, **facts))
    assert direction([1.0, 2.0], [1.5, 3.0]) == 1
    assert direction([1.0, 2.0], [0.5, 1.0]) == -1
    assert direction([1.0, 2.0], [1.5, 3.0], better="lower") == -1
    assert direction([1.0, 2.0], [0.5, 1.0], better="lower") == 1
    assert direction([1.0, 2.0], [1.5, 1.0]) == 0
    assert direction([1.0, 2.0], [1.5, 2.0]) == 0
    assert direction([1.0, 2.0], [1.5, 2 + 1e-9]) == 0  # the eighth digit
    assert direction([1.0, 2.0], [1.0, 2.0], better="lower") == 0


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("a=1;b=2", "a=1;b=3", "setting b: 2 -> 3"),
        ("a=1", "a=1;b=3", "setting b: default -> 3"),
        ("a=1;b=2", "a=1", "setting b: 2 -> default"),
        ("a=1;b=2", "b=2;a=1", ""),
        ("a=1;b=2", "a=2;b=3", ""),
        ("a=1", "b=1", ""),
    ],
)
def test_one_setting_that_changed_in_words(before, after, words):
    assert diff._change(before, after) == words


def test_a_matched_cell_says_first_what_was_changed_and_then_what_was_lost(rows):
    mine = cell(rows)
    old = changed(rows, mine, setting="k=1")
    new = changed(rows, mine, setting="k=2")
    new = new[~(mine & (new["seed"] == 2))]
    found = compare(old, new, match="method")
    line = only(found)
    assert (line["kind"], line["setting"]) == ("lost", "k=2")
    assert line["why"] == "setting k: 1 -> 2; seed 2: no row"


def test_a_spread_of_less_than_the_digits_that_are_written_is_none():
    assert _variance(np.array([5.0])) == 0 and _variance(np.array([1.0, 3.0])) == 2
    assert (
        _variance(np.array([5.0, 5 + 4e-6])) == 0
        and _variance(np.array([5.0, 5 + 6e-6])) > 0
    )
    assert (
        _variance(np.array([0.0, 4e-6]), size=5.0) == 0
        and _variance(np.array([0.0, 6e-6]), size=5.0) > 0
    )
    assert (
        _variance(np.array([-9.0, -9 - 8e-6])) == 0
        and _variance(np.array([2.0, 2.0, 2.0])) == 0
    )


@pytest.fixture
def spread():
    """Five seeds of one cell, of which the last has no value."""
    return (
        inputs()[0]
        .iloc[:5]
        .assign(
            method="A",
            metric="m",
            track="heatmap",
            dataset="d",
            target="t",
            setting="",
            metric_setting="",
            paper="x",
            status="ok",
            seed=range(5),
            unit="nodes",
            value=[2.0, 4.0, 6.0, 8.0, np.nan],
        )
    )


def test_spreads_of_a_set_of_rows_by_hand(spread):
    (line,) = _variances(spread).itertuples(index=False)
    assert (line.track, line.metric, line.unit, line.dof) == (
        "heatmap",
        "m",
        "nodes",
        3,
    )
    assert line.variance == pytest.approx((20 / 3) / 25)
    assert _variances(spread.assign(unit="share"))["variance"].item() == pytest.approx(
        20 / 3
    )


def test_equal_values_have_a_spread_of_0_and_one_value_none(spread):
    assert _variances(spread.assign(value=0.0))["variance"].item() == 0
    assert len(_variances(spread.iloc[2:])) == 1
    assert len(_variances(spread.iloc[3:])) == 0
    assert len(_variances(spread.assign(status="failed"))) == 0


def test_what_stands_against_the_committed_rows(rows):
    found = compare(rows, rows).iloc[: len(KINDS)].assign(kind=list(KINDS), moved=True)
    assert list(reproduced(found, exact=False)["kind"]) == [
        kind for kind in KINDS if kind not in ("new", "unchanged")
    ]
    assert list(reproduced(found, exact=True)["kind"]) == [
        kind for kind in KINDS if kind != "new"
    ]


def test_rows_of_nothing(rows):
    nothing = rows.iloc[:0]
    assert len(compare(nothing, nothing)) == 0 and set(
        compare(nothing, rows)["kind"]
    ) == {"new"}
    assert set(compare(rows, nothing)["kind"]) == {"lost"}


def test_kinds_to_fail_on():
    assert kinds("regression, lost") == ("regression", "lost") and kinds("") == ()
    with pytest.raises(
        UnknownName, match="no kind of difference 'regresion'; did you mean regression"
    ):
        kinds("regresion")


def test_same_machine():
    a = {"machine": {"cpu": "x", "torch": "2"}, "date": "1"}
    assert same_machine(a, {"machine": {"torch": "2", "cpu": "x"}, "date": "2"})
    assert not same_machine(a, {"machine": {"cpu": "y", "torch": "2"}})
    assert not same_machine({}, {}) and not same_machine(a, {"machine": {"cpu": "x"}})


# --------------------------------------------------------------------------------------------- shown


def test_lines_come_by_kind_and_size(worse):
    order = [list(KINDS).index(kind) for kind in worse["kind"]]
    assert order == sorted(order) and worse["kind"].iloc[0] == "regression"
    sizes = worse.loc[worse["kind"] == "regression", "errors"].abs()
    assert (sizes.diff().dropna() <= 0).all()


def test_markdown_says_what_moved_how_far_and_is_safe(rows, worse):
    text = show.markdown(
        worse, source(rows, "main"), source(rows), FAIL_ON, picture="diff.svg", limit=3
    )
    line = worse.iloc[0]
    assert "failed: " in text and "![What moved, in standard errors](diff.svg)" in text
    assert (
        f"{abs(line['errors']):.1f} worse" in text
        and store.format_value(line["old"]) in text
    )
    assert f"and {(worse['kind'] == 'regression').sum() - 3} more" in text
    evil = compare(rows, rows[rows["method"] != EVIL])
    text = show.markdown(evil, source(rows, EVIL), source(rows), FAIL_ON)
    assert EVIL not in text and "&lt;script&gt;" in text
    assert (
        "cells on digits/cnn, digits/vgg11, toybirds/cnn: no row" in text
    )  # a lost method is one line


def test_code_that_changed_is_named():
    a = {"steps": {"train": "1"}, "methods": {"mine.py:A": "1", "mine.py:B": "1"}}
    b = {"steps": {"train": "1"}, "methods": {"mine.py:A": "2", "mine.py:C": "2"}}
    assert show.changed_code(a, a) == "the same code"
    assert show.changed_code(a, b) == "other code: A"
    many = [{"metrics": dict.fromkeys(map(str, range(11)), mark)} for mark in "ab"]
    assert show.changed_code(*many).endswith(", 3 more")


def test_text_and_json(rows, worse):
    a, b = (
        source(rows, "main", machine={"cpu": "x"}, weights={"d/a-0": "1"}),
        source(rows, machine={"cpu": "y"}, weights={"d/a-0": "2"}),
    )
    text = show.text(worse, a, b, FAIL_ON)
    assert "; the same code" in text
    assert text.startswith("HEAD against main: failed: ")
    assert "another machine (cpu); 1 of 1 shared networks have other weights" in text
    facts = json.loads(show.as_json(worse, a, b, FAIL_ON))
    assert facts["failed"] and sum(facts["counts"].values()) == len(
        facts["cells"]
    ) == len(worse)
    assert facts["cells"][0]["kind"] == "regression" and facts["cells"][0]["errors"] < 0
    assert "NaN" not in show.as_json(compare(rows, rows.iloc[:0]), a, b, FAIL_ON)


def test_equal_rows_get_the_lines_that_the_statistics_give(rows, monkeypatch):
    quick = compare(rows, rows.copy())
    monkeypatch.setattr(pd.DataFrame, "equals", lambda self, other: False)
    slow = compare(rows, rows.copy())
    assert len(quick) and quick["kind"].eq("unchanged").all()
    pd.testing.assert_frame_equal(quick, slow, check_dtype=False)


def test_verdicts(rows, worse):
    assert (
        show.verdict(compare(rows, rows), FAIL_ON)
        == f"passed: none of {len(compare(rows, rows))} cells is worse"
    )
    assert show.verdict(worse, ("lost",)).startswith("not a pass: ")


def test_the_picture_shows_the_cells_that_moved(rows, worse):
    axes = picture.figure(worse, limit=10).axes[0]
    assert len(axes.get_yticklabels()) == 10
    assert plot_style.save(picture.figure(worse), "svg") == plot_style.save(
        picture.figure(worse), "svg"
    )
    assert "no cell moved" in [
        t.get_text() for t in picture.figure(compare(rows, rows)).axes[0].texts
    ]


# --------------------------------------------------------------------------------------------- sources and the command


@pytest.fixture
def project(tmp_path, monkeypatch, rows):
    """A git repository whose commit holds results; the working tree holds worse ones."""
    move_root(monkeypatch, tmp_path)
    folder = tmp_path / "results" / PROFILE
    store.write_rows(folder / "rows.csv", rows)
    store.write_json(folder / "provenance.json", {"machine": {"cpu": "x"}})
    (tmp_path / "params.yaml").write_text("{}")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (
        ["init", "-q"],
        ["add", "results"],
        ["commit", "-q", "-m", "results"],
    ):
        subprocess.run([*git, *command], check=True)
    store.write_rows(
        folder / "rows.csv",
        rows.assign(
            value=rows["value"] + np.where(cell(rows, "average_drop"), 50.0, 0.0)
        ),
    )
    return tmp_path


def call(*arguments: str) -> int:
    return main.main([*arguments, "--profile", PROFILE])


@pytest.mark.parametrize("base", ["HEAD", "master:", "file", "folder", "checkout"])
def test_base_is_a_revision_a_file_or_a_folder(
    project, rows, base, capsys, tmp_path_factory
):
    if base in ("file", "folder", "checkout"):
        root = tmp_path_factory.mktemp("old")
        path = (
            root
            / {
                "file": "old.csv",
                "folder": "rows.csv",
                "checkout": f"results/{PROFILE}/rows.csv",
            }[base]
        )
        store.write_rows(path, rows)
        base = str(path if base == "file" else root)
    elif base.endswith(":"):
        branch = subprocess.run(
            ["git", "-C", str(project), "branch", "--show-current"],
            capture_output=True,
            text=True,
            check=True,
        )
        base = branch.stdout.strip()
    assert call("diff", base) == 1
    assert "failed: 1 regression" in capsys.readouterr().out
    assert call("diff", base, base) == 0
    assert call("diff", base, "--fail-on", "lost") == 0


def test_bad_bases_are_one_line(project, capsys, tmp_path):
    (tmp_path / "damaged.csv").write_text("profile,track\na\n")
    for base, words in (
        ("nonsense", "no git revision"),
        ("-p", "no git revision"),
        (str(tmp_path / "damaged.csv"), "is damaged"),
        ("/", "not a rows file"),
    ):
        assert main.main(["diff", "--profile", PROFILE, "--", base]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
    assert call("diff", "HEAD", "--fail-on", "lots") == 2
    assert "did you mean lost?" in capsys.readouterr().err
    assert main.main(["diff", "HEAD", "--profile", "quick"]) == 2


def test_the_command_writes_markdown_json_and_a_picture(project, capsys, tmp_path):
    assert call("diff", "HEAD", "--md", "--plot", str(tmp_path / "diff.svg")) == 1
    assert "(diff.svg)" in capsys.readouterr().out and (
        tmp_path / "diff.svg"
    ).read_bytes().startswith(b"<?xml")
    assert call("diff", "HEAD", "--json", "--plot", str(tmp_path / "diff.png")) == 1
    assert json.loads(capsys.readouterr().out)["counts"]["regression"] == 1
    assert (tmp_path / "diff.png").read_bytes().startswith(b"\x89PNG")


def test_compare_is_exact_on_the_same_machine_and_tolerant_on_another(
    project, rows, capsys
):
    folder = project / "results" / PROFILE
    assert (
        call("compare", "HEAD") == 1
        and "(the same kind of machine: exact); the same code"
        in capsys.readouterr().out
    )
    seventh = rows.assign(
        value=rows["value"] * np.where(rows["track"] == "heatmap", 1 + 1e-6, 1)
    )
    store.write_rows(folder / "rows.csv", seventh)
    assert call("compare", "HEAD") == 1
    store.write_json(folder / "provenance.json", {"machine": {"cpu": "y"}})
    capsys.readouterr()
    assert (
        call("compare", "HEAD") == 0 and "the same results" in capsys.readouterr().out
    )
    better = rows.assign(
        value=rows["value"] - np.where(cell(rows, "average_drop"), 50.0, 0.0)
    )
    store.write_rows(folder / "rows.csv", better)
    assert call("compare", "HEAD") == 1  # better is not the same either


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as stop:
        main.main(["diff", "--help"])
    assert (
        stop.value.code == 0
        and "glassbench diff" in capsys.readouterr().out.split("examples:")[1]
    )
