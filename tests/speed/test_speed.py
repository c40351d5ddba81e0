"""The speed comparisons run at their smallest sizes and write what they measured; no speed is asserted."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark import store
from benchmark.pipeline import unit_times
from speed import __main__ as bench
from speed import boards, builds, frame, pictures, words
from speed.frame import Row


def row(**more):
    given = {
        "name": "Ours",
        "peer": "theirs",
        "size": "8 images",
        "ratio": 3.0,
        "lo": 2.5,
        "hi": 3.5,
        "goal": 2.0,
        "bound": "",
        "n": 5,
        "seconds": 0.1,
    }
    return Row(**given | more)


def test_a_goal_is_at_least_for_ratios_and_at_most_for_slopes():
    assert (
        row().reached == "yes"
        and row(goal=4).reached == "no"
        and row(goal=None).reached == ""
    )
    assert (
        row(kind="slope", ratio=1.05, goal=1.1).reached == "yes"
        and row(kind="slope", ratio=1.2, goal=1.1).reached == "no"
    )


def test_contenders_take_turns_after_a_warm_up():
    calls, clock = [], iter(np.cumsum([0, 1, 0, 3, 0, 2, 0, 8, 0, 1, 0, 5]))
    (found,) = frame.many(
        "A",
        "x",
        lambda: calls.append("a"),
        {"b": (lambda: calls.append("b"), 2, "why", "ratio")},
        n=3,
        clock=lambda: next(clock),
    )
    assert calls == list("abababab")
    assert (found.ratio, found.lo, found.hi, found.seconds, found.n) == (
        4,
        3.5,
        4.5,
        1,
        3,
    )  # of 3, 4 and 5
    assert (found.peer, found.goal, found.bound, found.reached) == (
        "b",
        2,
        "why",
        "yes",
    )
    calls.clear()
    frame.turns([lambda: calls.append("a"), lambda: calls.append("b")], 2, warm=True)
    assert calls == list("abab")


def test_the_slope_of_a_curve(monkeypatch):
    monkeypatch.setattr(
        frame, "turns", lambda ways, n, *_: np.array([[way() ** 2 for way in ways]] * n)
    )  # quadratic
    *points, slope = frame.growth(
        "A", "items", [2, 4, 8], lambda size: lambda: float(size)
    )
    assert [(p.kind, p.ratio, p.seconds) for p in points] == [
        ("point", 2, 4),
        ("point", 4, 16),
        ("point", 8, 64),
    ]
    assert (
        slope.kind == "slope"
        and slope.ratio == pytest.approx(2)
        and slope.reached == "no"
    )


def test_a_suite_is_replaced_and_the_others_kept(tmp_path):
    rows = [
        row(suite="cams"),
        row(suite="xnn", goal=None),
        row(suite="growth", kind="point", ratio=2, size="items"),
        row(suite="growth", kind="point", ratio=4, size="items"),
        row(suite="growth", kind="slope", size="items: 2 to 4"),
    ]
    bench.write(frame.table(rows), bench.SUITE, tmp_path)
    bench.write(frame.table([row(suite="cams", ratio=9.0)]), ["cams"], tmp_path)
    written = pd.read_csv(tmp_path / "benchmarks.csv")
    assert list(written.suite) == ["cams", "xnn", "growth", "growth", "growth"]
    assert list(written.ratio) == [9, 3, 2, 4, 3]
    assert written.reached.fillna("").tolist() == ["yes", "", "yes", "yes", "no"]
    assert (
        written.machine.str.contains("torch").all()
        and written.machine.str.contains("commit").all()
    )
    for name in ("benchmarks", "growth"):
        assert (tmp_path / f"{name}.svg").read_text().startswith("<?xml")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_to_draw_draws_nothing():
    nothing = frame.table([])
    assert pictures.ratios(nothing) is None and pictures.growth(nothing) is None


def board(profile, wall, dvc):
    facts = (profile, "abc", "2026-01-02", "CPU", 2)
    kinds = [
        ("wall", "", "", wall, "seconds"),
        ("dvc", "", "", dvc, "seconds"),
        ("no-op", "", "", 2.0, "seconds"),
        ("memory", "", "", 1.5, "GiB"),
        ("stage", "train", "digits", 60.0, "seconds"),
        ("stage", "score", "digits", 30.0, "seconds"),
        ("unit", "train", "digits/cnn-0", 20.0, "seconds"),
    ]
    return pd.DataFrame(
        [(*facts, *kind) for kind in kinds], columns=list(boards.COLUMNS)
    )


def test_boards_are_rows_against_what_is_allowed(tmp_path, capsys):
    for rows in (
        board("offline", 400.0, 4.0),
        board("quick", 1000.0, 100.0),
        board("offline", 100.0, 10.0),
    ):  # the last counts
        boards.write(rows, tmp_path / "boards.csv")
    found = {r.name: r for r in bench.boards(tmp_path / "boards.csv")}
    assert found["Board offline"].ratio == 3 and found[
        "Board quick"
    ].ratio == pytest.approx(3.6)
    assert (
        found["DVC's share of offline"].ratio == pytest.approx(0.5)
        and found["DVC's share of offline"].reached == "no"
    )
    assert found["Board offline"].bound == "train 60%, score 30%"
    assert not list(bench.boards(tmp_path / "none.csv"))
    boards.show(board("offline", 100.0, 10.0))
    said = capsys.readouterr().out
    assert (
        "100 s of wall time" in said
        and "DVC 10.0 s (10.0%)" in said
        and "digits 60" in said
        and "digits/cnn-0" in said
    )


# --------------------------------------------------------------------------------------------- an earlier build

GROWTH = """
import time

now = [0.0]
time.process_time = lambda: now[0]


def work(n):
    def run():
        now[0] += {cost} * n
    return run
"""


@pytest.fixture
def two_builds(tmp_path, monkeypatch):
    """A repository whose first commit takes four times as long as what is there now: (its folder, that commit)."""
    root = tmp_path / "repository"
    for name, value in (("NAME", "a"), ("EMAIL", "a@b")):
        for who in ("AUTHOR", "COMMITTER"):
            monkeypatch.setenv(f"GIT_{who}_{name}", value)

    def git(*words):
        done = subprocess.run(
            ["git", "-C", root, *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    store.write_text(root / "benchmarks" / "growth.py", GROWTH.format(cost=4))
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "slow")
    git("mv", "benchmarks", "speed")
    store.write_text(root / "speed" / "growth.py", GROWTH.format(cost=1))
    case = builds.Case("Work", "3 steps", "work", (3,), (1,), goal=5.0)
    monkeypatch.setattr(builds, "CASES", (case,))
    return root, git("rev-parse", "HEAD")


def test_a_build_takes_turns_with_an_earlier_one(two_builds):
    root, commit = two_builds
    (found,) = builds.rows(against=commit, root=root, n=2)
    assert (found.ratio, found.lo, found.hi, found.seconds, found.n) == (4, 4, 4, 3, 2)
    assert found.peer == f"the build at {commit}" and found.reached == "no"


def test_a_build_that_is_not_there_or_cannot_do_it_is_one_line(two_builds, monkeypatch):
    root, commit = two_builds
    with pytest.raises(SystemExit, match="nowhere is not in .*git fetch"):
        list(builds.rows(against="nowhere", root=root))
    monkeypatch.setattr(builds, "CASES", (builds.Case("A", "", "other", (), ()),))
    with pytest.raises(SystemExit, match=r"repository cannot run growth.other\(\)"):
        list(builds.rows(against=commit, root=root))


def test_no_comparison_takes_more_turns_than_asked_for(monkeypatch):
    monkeypatch.setattr(frame, "MOST_TURNS", 2)
    found = frame.against("A", "b", "x", list, list, goal=None, n=9)
    assert found.n == 2
    assert frame.turns([list], 1).shape == (1, 1)


# --------------------------------------------------------------------------------------------- in words


def test_what_was_measured_in_words(tmp_path):
    board("offline", 120.0, 4.0).to_csv(tmp_path / "boards.csv", index=False)
    rows = [
        row(ratio=2.34, bound="a pass"),
        row(ratio=1.5, size="9 images"),
        row(peer="a loop", goal=None),
        row(name="Bits", peer="counting", kind="floor", ratio=0.25, goal=1 / 3),
        row(name="RI", size="|R|: 5 to 9", kind="slope", ratio=1.305, goal=1.1),
    ]
    frame.table(rows).to_csv(tmp_path / "benchmarks.csv", index=False)
    said = words.speeds(tmp_path).splitlines()
    assert said[0] == (
        "- `offline` from nothing: 2.0 minutes on 2 cores, 1.5 GiB "
        "(50% train, 25% score; 2026-01-02, commit abc)."
    )
    assert "| Ours | theirs | 1.5 to 2.34 x as fast | 2 x: 1 of 2 | a pass |" in said
    assert "| Bits | counting | 4 x its time | at most 3 x: no |  |" in said
    assert r"| RI | \|R\|: 5 to 9 | 1.3 | at most 1.1: no |  |" in said
    assert not any("a loop" in line for line in said)


def test_a_section_is_replaced_and_nothing_else():
    page = "a\n<!-- b -->\nold\n<!-- /b -->\nc\n"
    made = words.section(page, "b", r"new \1")
    assert made == page.replace("old", r"new \1")
    with pytest.raises(ValueError, match="no section <!-- d -->"):
        words.section(page, "d", "")


def test_the_page_says_what_was_measured():
    page = words.PAGE.read_text()
    assert words.section(page, "speed", words.speeds(bench.RESULTS)) == page


@pytest.mark.slow
def test_the_page_says_what_the_plan_of_paper_is():
    page = words.PAGE.read_text()
    assert words.section(page, "plan", words.plan_of_paper()) == page


def test_what_units_took(tmp_path):
    paths = store.Paths("offline", tmp_path)
    assert not list(boards.recorded(paths))
    taken = {
        ("train", "digits/cnn-0"): 3.5,
        ("score", "digits/cnn/seed=0 grad_cam"): 2.0,
        ("stage", "score digits"): 9.0,
    }
    unit_times.write(
        paths, {key: unit_times.Time(seconds) for key, seconds in taken.items()}
    )
    assert sorted(boards.recorded(paths)) == [
        (2.0, "score", "digits/cnn/seed=0 grad_cam"),
        (3.5, "train", "digits/cnn-0"),
    ]


def test_a_commands_time_and_memory(tmp_path):
    seconds, gigabytes = boards.run(
        [sys.executable, "-c", "x = bytearray(2 ** 28); import time; time.sleep(1.2)"],
        tmp_path,
        {},
    )
    assert 1.2 <= seconds < 60 and gigabytes > 0.25
    with pytest.raises(SystemExit, match="exit code 3"):
        boards.run([sys.executable, "-c", "raise SystemExit(3)"], tmp_path, {})


def test_the_shim_notes_when_a_command_starts_and_ends(tmp_path):
    shim, noted = tmp_path / "glassbench", tmp_path / "times.txt"
    shim.write_text(boards.SHIM.format(python="false", times=noted))
    shim.chmod(0o755)
    assert (
        subprocess.run(
            [shim, "score", "digits", "--keep-going"], check=False
        ).returncode
        == 1
    )  # what it calls fails
    start, end, words = noted.read_text().split(maxsplit=2)
    assert float(start) <= float(end) and boards.step(words.split()) == (
        "score",
        "digits",
    )
    assert boards.step(["report"]) == ("report", "") and boards.step(
        ["prepare", "--all"]
    ) == (
        "prepare",
        "",
    )


def test_a_board_whose_folder_is_taken_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "main").mkdir()
    monkeypatch.setattr(sys, "argv", ["boards.py", "offline", "--keep", str(tmp_path)])
    with pytest.raises(SystemExit, match="already exists"):
        boards.main()


def test_the_list_names_every_script(capsys):
    bench.main(["--list"])
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [name for name, *_ in said] == list(bench.SUITE)
    assert all(len(words) > 3 for words in said)  # it says what each does
    scripts = {p.stem for p in Path(bench.__file__).parent.glob("*.py")}
    assert scripts >= set(bench.SUITE)


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")  # the peers warn about themselves
def test_every_benchmark_runs_at_its_smallest_sizes(tmp_path):
    for library in ("captum", "pytorch_grad_cam", "quantus", "zennit"):
        pytest.importorskip(library, reason="the extra `oracles` is not installed")
    boards.write(board("offline", 100.0, 10.0), tmp_path / "boards.csv")
    bench.main(["--small", "--out", str(tmp_path)])
    written = pd.read_csv(tmp_path / "benchmarks.csv")
    assert list(dict.fromkeys(written.suite)) == list(bench.SUITE)
    assert (
        (written.seconds > 0).all()
        and (written.lo <= written.ratio).all()
        and (written.ratio <= written.hi).all()
    )
