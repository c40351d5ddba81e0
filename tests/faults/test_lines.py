"""What goes wrong is one clear line, nothing is lost, and the command that the line names mends it:
the tests run it."""

import errno
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmark import data, store
from benchmark.cli import main
from benchmark.pipeline import cells, collect, inputs, unit_times
from benchmark.pipeline.prerequisites import make_ready
from benchmark.pipeline.profile import Profile
from benchmark.store import recovery
from tests.helpers.command import call, one_line
from tests.helpers.faults import spoil
from tests.helpers.places import ROOT

METHODS = [
    f"{ROOT / 'baselines' / name}"
    for name in ("random_map.py:RandomMap", "edge_map.py:EdgeMap")
]


@pytest.fixture
def inline(monkeypatch):
    """Units run in this process, which is quicker."""
    from benchmark import engine

    def here(units, *, label):
        for unit in units:
            try:
                yield engine.Done(unit, unit.function(*unit.arguments))
            except Exception as error:
                print(
                    f"{label} failed: {unit.name}: {engine.one_line(error)}",
                    file=sys.stderr,
                )
                yield engine.Done(unit, error=engine.one_line(error))

    monkeypatch.setattr(engine, "run", here)
    monkeypatch.setattr(engine, "warm_up", lambda *modules: None)


@pytest.fixture
def done(trained, inline, capsys):
    """The workspace, explained and scored."""
    trained.params["explain"]["methods"] = METHODS
    trained.save()
    assert call("explain") == 0 and call("score") == 0
    capsys.readouterr()
    return trained


def scored():
    return store.rows_text(
        collect.profile_rows(Profile.read(store.ROOT / "params.yaml"))[0]
    )


def named(text):
    """The commands that a line names."""
    return [found.split()[1:] for found in re.findall(r"`(glassbench [^`]*)`", text)]


# --------------------------------------------------------------------------------------------- spoilt files


def read(what, done):
    """Reads a file of the first cell, with nothing remembered."""
    cell = cells.cells(done.profile, "blobs")[0]
    inputs.forget()
    inputs._dataset.cache_clear()
    return {
        "data": lambda: data.load(cell.paths.data("blobs")),
        "weights": lambda: inputs.load_target(cell),
        "explanation": lambda: cells.read_explanation(cell.explanation),
        "scores": lambda: collect.profile_rows(done.profile),
    }[what]()


def error_of_a_spoilt(what, how, done):
    """(The path of the file, what it held, the line that its reader says)."""
    cell = cells.cells(done.profile, "blobs")[0]
    path = {
        "data": cell.paths.data("blobs"),
        "weights": cell.weights,
        "explanation": cell.explanation,
        "scores": cell.scores,
    }[what]
    whole = path.read_bytes()
    spoil(path, how)
    with pytest.raises(store.StoreError) as error:
        read(what, done)
    line = str(error.value)
    assert str(path) in line and "\n" not in line
    return path, whole, line


@pytest.mark.parametrize("how", ["empty", "cut", "flipped", "text"])
@pytest.mark.parametrize("what", ["weights", "explanation", "scores"])
def test_a_spoilt_file_names_the_command_that_mends_it(done, what, how):
    """Its reader says so; then the very command is run, the steps after it again, and the rows are the same."""
    before = scored()
    _, _, line = error_of_a_spoilt(what, how, done)
    (command,) = named(line)
    assert call(*command) == 0
    assert call("explain") == 0 and call("score") == 0
    assert scored() == before


@pytest.mark.parametrize("how", ["empty", "cut", "flipped", "text"])
def test_spoilt_data_name_the_command_that_prepares_them(done, how):
    """The workspace does not have the script that the command would run."""
    before = scored()
    path, whole, line = error_of_a_spoilt("data", how, done)
    assert named(line) == [["prepare", "blobs"]]
    path.write_bytes(whole)
    assert call("explain") == 0 and call("score") == 0
    assert scored() == before


@pytest.mark.parametrize("how", ["empty", "cut", "text"])
def test_a_spoilt_card_names_the_command_that_mends_it(done, capsys, how):
    before, card = (
        scored(),
        store.Paths("tiny").target("blobs", "cnn", 0).with_suffix(".json"),
    )
    spoil(card, how)
    inputs.forget()
    assert call("score") == 2
    *_, line = capsys.readouterr().err.strip().splitlines()
    assert named(line) == [["train", "blobs"]] and str(card) in line
    assert call("train", "blobs") == 0
    assert call("explain") == 0 and call("score") == 0
    assert scored() == before


def test_a_spoilt_half_of_a_training_costs_time_only(workspace, inline):
    assert call("train") == 0
    weights = store.Paths("tiny").target("blobs", "cnn", 0)
    before = weights.read_bytes()
    for path in (weights, weights.with_suffix(".json")):
        path.unlink()
    weights.with_name("cnn-0.partial.safetensors").write_bytes(b"half")
    assert call("train") == 0
    assert weights.read_bytes() == before and sorted(
        p.name for p in weights.parent.iterdir()
    ) == [
        "cnn-0.json",
        "cnn-0.safetensors",
    ]


def test_a_file_of_another_kind_under_a_cells_name_is_recomputed(done):
    """An older version's file, say: an archive that is whole, without what is asked for."""
    before, cell = scored(), cells.cells(done.profile, "blobs")[0]
    for path in (cell.explanation, cell.scores):
        store.write_npz(path, {"other": np.arange(3)})
        assert call("explain") == 0 and call("score") == 0
        assert scored() == before


@pytest.mark.parametrize("text", ["profile: [", "", "just text", "profile: tiny\n\x00"])
def test_damaged_params_are_mended_by_the_command_that_the_line_names(
    workspace, capsys, text
):
    path = workspace.root / "params.yaml"
    path.write_text(text)
    assert call("train") == 2
    (command,) = named(capsys.readouterr().err)
    assert call(*command) == 0
    assert path.read_text() == main.profiles()["offline"].read_text()
    assert (workspace.root / "params.damaged.yaml").read_text() == text


# --------------------------------------------------------------------------------------------- disks


class Mounted:
    """A file system of its own at a folder."""

    def __init__(self, folder, *options):
        self.folder, self.options = folder, options

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        if subprocess.run(
            ["mount", *self.options, str(self.folder)], capture_output=True, check=False
        ).returncode:
            pytest.skip("may not mount here")
        return self.folder

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


@pytest.mark.parametrize("step", ["explain", "score"])
def test_a_full_disk_costs_only_the_cells_that_did_not_fit(done, capsys, step):
    """A real file system of one page."""
    before, paths = scored(), store.Paths("tiny")
    folder = {"explain": paths.explanations, "score": paths.scores}[step]("blobs")
    with Mounted(folder, "-t", "tmpfs", "-o", "size=4k", "tmpfs"):
        code = call(step)
        said = capsys.readouterr()
        assert (
            code in (1, 2)
            and "No space left on device" in said.err
            and "Traceback" not in said.err
        )
        assert not [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".npz"]
    assert call("explain") == 0 and call("score") == 0
    assert scored() == before


def test_a_disk_that_is_full_while_a_network_trains_is_one_line(
    workspace, inline, capsys
):
    folder = store.Paths("tiny").targets("blobs")
    with Mounted(folder, "-t", "tmpfs", "-o", "size=4k", "tmpfs"):
        assert call("train") in (1, 2)
        assert "No space left on device" in capsys.readouterr().err
        assert not list(folder.glob("*.safetensors")) and not list(folder.glob(".*"))
    assert call("train") == 0


@pytest.mark.parametrize(
    ("command", "codes", "said"),
    [
        (["explain"], (1, 2), "Read-only file system"),
        (["score"], (1, 2), "Read-only file system"),
        (["train"], (1, 2), "Read-only file system"),
        (["use", "offline"], (1, 2), "Read-only file system"),
        (["mend"], (0, 1, 2), ""),  # which has nothing to do
    ],
)
def test_a_folder_that_may_only_be_read_is_one_line(done, capsys, command, codes, said):
    """A real mount that may only be read; root may write anywhere else."""
    before = scored()
    done.params["explain"]["images"] = 9  # there is something to do
    done.save()
    if command == ["train"]:
        store.Paths("tiny").target("blobs", "cnn", 0).unlink()
    with Mounted(done.root, "--bind", str(done.root)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(done.root)], check=True)
        code = call(*command)
        err = capsys.readouterr().err
    assert code in codes and said in err
    assert "Traceback" not in err
    done.params["explain"]["images"] = 8
    done.save()
    assert call("train") == 0 and call("explain") == 0 and call("score") == 0
    assert scored() == before


def test_networks_that_may_only_be_read_serve(done):
    folder = store.Paths("tiny").targets("blobs")
    with Mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        make_ready(done.profile, "blobs")


# --------------------------------------------------------------------------------------------- no git


@pytest.fixture
def without_git(done, monkeypatch):
    """The workspace, where no program is found by its name."""
    shutil.copytree(ROOT / "results/reported", done.root / "results/reported")
    monkeypatch.setenv("PATH", "")
    return done


def test_without_git_work_is_done_and_the_lost_commit_is_said(without_git, capsys):
    """The rows of a report are those that are verified, and known to evaluate."""
    new = f"{ROOT / 'baselines' / 'grad_cam.py'}:GradCAM"
    for command in (["report"], ["verify", "--sample", "1"], ["evaluate", new]):
        assert call(*command) == 0
        assert "names no commit: git cannot be run" in capsys.readouterr().err
    for file in without_git.root.rglob("provenance.json"):
        assert store.read_json(file)["made"]["commit"] == ""


@pytest.mark.parametrize("command", [["rekey"], ["compare", "HEAD"], ["diff", "HEAD"]])
def test_what_needs_git_refuses_at_the_start(without_git, capsys, command):
    facts = {"methods": {}, "metrics": {}, "steps": {}}
    store.write_json(store.Paths("tiny").results / "provenance.json", facts)
    assert call(*command) == 2
    assert "install git" in one_line(capsys)


# --------------------------------------------------------------------------------------------- two at once


@pytest.mark.parametrize("command", [["train"], ["explain"], ["score"]])
def test_the_second_of_two_runs_is_told_so_and_the_first_goes_on(done, capsys, command):
    before, paths = scored(), store.Paths("tiny")
    folder = {
        "train": paths.targets,
        "explain": paths.explanations,
        "score": paths.scores,
    }[command[0]]("blobs")
    script = (
        "import sys, pathlib; from benchmark import store\n"
        f"with store.exclusive(pathlib.Path({str(folder)!r})):\n"
        "    print(1, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as other:
        other.stdout.readline()
        assert call(*command) == 2
        line = capsys.readouterr().err
        assert (
            line.count("\n") == 1 and f"another process is at work in {folder}" in line
        )
        other.kill()  # its lock goes with it, whatever happens to it
    (named_command,) = named(line)
    assert named_command == [*command, "blobs"]
    assert call(*named_command) == 0
    assert scored() == before
    assert not [p for p in done.root.rglob("*lock*")]


def test_a_lock_waits_where_it_is_asked_to(tmp_path):
    import threading

    order = []
    with store.exclusive(tmp_path):

        def second():
            with store.exclusive(tmp_path, wait=True):
                order.append("second")

        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.05)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_file_system_without_locks_has_none(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", none)
    with store.exclusive(tmp_path), store.exclusive(tmp_path):
        store.write_text(tmp_path / "a", "b")
    assert (tmp_path / "a").read_text() == "b"


def test_evaluate_removes_what_a_killed_run_left_unless_dvc_is_running(done, capsys):
    left = done.root / "results" / "evaluations" / "tiny" / "Mine" / ".rows.csv.abc.tmp"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    (done.root / ".dvc" / "tmp").mkdir(parents=True)
    with open(done.root / ".dvc" / "tmp" / "lock", "w") as lock:
        recovery.fcntl.flock(lock, recovery.fcntl.LOCK_EX)
        assert call("evaluate", "--images", str(done.root / "images.npz")) == 0
        assert left.exists()
    assert call("evaluate", "--images", str(done.root / "images.npz")) == 0
    assert (
        not left.exists()
        and "1 temporary file of a killed run removed" in capsys.readouterr().err
    )


# --------------------------------------------------------------------------------------------- clocks


@pytest.mark.parametrize("shift", [-40 * 365 * 86400, 40 * 365 * 86400, 0])
def test_a_clock_that_jumps_makes_nothing_again_and_loses_nothing(
    done, monkeypatch, shift
):
    """Files from the past and from the future, and a clock that goes there and back between two calls."""
    before, made = scored(), {}
    for i, path in enumerate(sorted(store.Paths("tiny").artifacts.rglob("*.*"))):
        os.utime(path, (time.time() + shift * (-1) ** i,) * 2)
        made[path] = path.stat().st_mtime_ns
    real = time.time
    jumps = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: real() + shift * (next(jumps) % 3 - 1))
    assert call("train") == 0 and call("explain") == 0 and call("score") == 0
    again = [
        path.name for path, stamp in made.items() if path.stat().st_mtime_ns != stamp
    ]
    assert again == [
        "network.npz"
    ]  # two rows off the card, which are written every time
    assert scored() == before


def test_seconds_do_not_run_backwards_with_the_clock(done, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    for path in store.Paths("tiny").explanations("blobs").rglob("*.npz"):
        path.unlink()
    assert call("explain") == 0
    taken = unit_times.read(store.Paths("tiny"))
    assert taken and all(0 <= one.seconds < 3600 for one in taken.values())
