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
from speed import boards, frame, pictures
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
