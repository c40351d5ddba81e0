"""What goes wrong is one clear line, nothing is lost, and the command that the line names mends it: the tests run it."""

import errno
import json
import os
import platform
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from benchmark import cells, cli, data, mend, run, store
from tests.test_house import ROOT

METHODS = [f"{ROOT / 'baselines' / name}" for name in ("random_map.py:RandomMap", "edge_map.py:EdgeMap")]


def call(*arguments):
    return cli.main(list(arguments))


@pytest.fixture
def inline(monkeypatch):
    """Units run in this process, which is quicker."""
    from benchmark import engine

    def here(units, *, label):
        for unit in units:
            try:
                yield engine.Done(unit, unit.function(*unit.arguments))
            except Exception as error:
                print(f"{label} failed: {unit.name}: {engine.one_line(error)}", file=sys.stderr)
                yield engine.Done(unit, error=engine.one_line(error))

    monkeypatch.setattr(engine, "run", here)
    monkeypatch.setattr(engine, "warm_up", lambda: None)


@pytest.fixture
def done(trained, inline, capsys):
    """The workspace, explained and scored."""
    trained.params["explain"]["methods"] = METHODS
    trained.save()
    assert call("explain") == 0 and call("score") == 0
    capsys.readouterr()
    return trained


def scored():
    rows = run.collect(json.loads(json.dumps(PARAMS)))[0]
    return store.rows_text(rows.assign(seconds=0.0))


PARAMS = {"profile": "tiny", "datasets": ["blobs"]}


def named(text):
    """The commands that a line names."""
    return [found.split()[1:] for found in re.findall(r"`(glassbench [^`]*)`", text)]


def spoil(path, how):
    raw = path.read_bytes()
    middle = len(raw) // 2
    flipped = raw[:middle] + bytes([raw[middle] ^ 0xFF]) + raw[middle + 1 :]
    path.write_bytes({"empty": b"", "cut": raw[:middle], "flipped": flipped, "text": b"no such thing\n"}[how])


# --------------------------------------------------------------------------------------------- spoilt files


@pytest.mark.parametrize("how", ["empty", "cut", "flipped", "text"])
@pytest.mark.parametrize("what", ["data", "weights", "explanation", "scores"])
def test_a_spoilt_file_names_the_command_that_mends_it(done, capsys, what, how):
    """Its reader says so; then the very command is run, the steps after it again, and the rows are the same."""
    before = scored()
    cell = run.cells(done.params, "blobs")[0]
    path = {
        "data": cell.paths.data("blobs"),
        "weights": cell.weights,
        "explanation": cell.explanation,
        "scores": cell.scores,
    }[what]
    whole = path.read_bytes()
    spoil(path, how)
    reader = {"data": lambda: data.load(path), "weights": lambda: cells.load_target(cell),
              "explanation": lambda: cells.read_explanation(path), "scores": lambda: run.collect(done.params)}[what]  # fmt: skip
    cells.forget()
    cells._dataset.cache_clear()
    with pytest.raises(store.StoreError) as error:
        reader()
    line = str(error.value)
    assert str(path) in line and "\n" not in line
    (command,) = named(line)
    if what == "data":  # of a script that this workspace does not have
        assert command == ["prepare", "blobs"]
        path.write_bytes(whole)
    else:
        assert call(*command) == 0
    assert call("explain") == 0 and call("score") == 0
    assert scored() == before


def test_a_spoilt_card_names_the_command_that_mends_it(done, capsys):
    before, card = scored(), store.Paths("tiny").target("blobs", "cnn", 0).with_suffix(".json")
    for how in ("empty", "cut", "text"):
        spoil(card, how)
        cells.forget()
        assert call("score") == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        (command,) = named(line)
        assert command == ["train", "blobs"] and str(card) in line
        assert call(*command) == 0
        assert call("explain") == 0 and call("score") == 0
        rows = scored()
        assert rows == before
        capsys.readouterr()


def test_a_spoilt_half_of_a_training_costs_time_only(workspace, inline):
    assert call("train") == 0
    weights = store.Paths("tiny").target("blobs", "cnn", 0)
    before = weights.read_bytes()
    for path in (weights, weights.with_suffix(".json")):
        path.unlink()
    weights.with_name("cnn-0.partial.safetensors").write_bytes(b"half")
    assert call("train") == 0
    assert weights.read_bytes() == before and sorted(p.name for p in weights.parent.iterdir()) == [
        "cnn-0.json",
        "cnn-0.safetensors",
    ]


def test_a_file_of_another_kind_under_a_cells_name_is_made_again(done):
    """An older version's file, say: an archive that is whole, without what is asked for."""
    before, cell = scored(), run.cells(done.params, "blobs")[0]
    for path in (cell.explanation, cell.scores):
        store.write_npz(path, {"other": np.arange(3)})
        assert call("explain") == 0 and call("score") == 0
        assert scored() == before


@pytest.mark.parametrize("text", ["profile: [", "", "just text", "profile: tiny\n\x00"])
def test_damaged_params_are_mended_by_the_command_that_the_line_names(workspace, capsys, text):
    path = workspace.root / "params.yaml"
    path.write_text(text)
    assert call("train") == 2
    (command,) = named(capsys.readouterr().err)
    assert call(*command) == 0
    assert path.read_text() == cli.profiles()["offline"].read_text()
    assert (workspace.root / "params.damaged.yaml").read_text() == text


# --------------------------------------------------------------------------------------------- disks


class Mounted:
    """A file system of its own at a folder."""

    def __init__(self, folder, *options):
        self.folder, self.options = folder, options

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        if subprocess.run(["mount", *self.options, str(self.folder)], capture_output=True, check=False).returncode:
            pytest.skip("may not mount here")
        return self.folder

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


@pytest.mark.parametrize("step", ["explain", "score"])
def test_a_full_disk_costs_the_cells_that_did_not_fit_and_a_re_run_makes_them(done, capsys, step):
    """A real file system of one page."""
    before, paths = scored(), store.Paths("tiny")
    folder = {"explain": paths.explanations, "score": paths.scores}[step]("blobs")
    with Mounted(folder, "-t", "tmpfs", "-o", "size=4k", "tmpfs"):
        code = call(step)
        said = capsys.readouterr()
        assert code in (1, 2) and "No space left on device" in said.err and "Traceback" not in said.err
        assert not [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".npz"]
    assert call("explain") == 0 and call("score") == 0
    assert scored() == before


def test_a_disk_that_is_full_while_a_network_trains_is_one_line(workspace, inline, capsys):
    folder = store.Paths("tiny").targets("blobs")
    with Mounted(folder, "-t", "tmpfs", "-o", "size=4k", "tmpfs"):
        assert call("train") in (1, 2)
        assert "No space left on device" in capsys.readouterr().err
        assert not list(folder.glob("*.safetensors")) and not list(folder.glob(".*"))
    assert call("train") == 0


@pytest.mark.parametrize("command", [["explain"], ["score"], ["train"], ["mend"], ["use", "offline"]])
def test_a_folder_that_may_only_be_read_is_one_line(done, capsys, command):
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
    assert "Traceback" not in err
    if command != ["mend"]:  # which has nothing to do
        assert code in (1, 2) and "Read-only file system" in err
    done.params["explain"]["images"] = 8
    done.save()
    assert call("train") == 0 and call("explain") == 0 and call("score") == 0
    assert scored() == before


# --------------------------------------------------------------------------------------------- two at once


@pytest.mark.parametrize("command", [["train"], ["explain"], ["score"]])
def test_the_second_of_two_runs_is_told_so_and_the_first_goes_on(done, capsys, command):
    before, paths = scored(), store.Paths("tiny")
    folder = {"train": paths.targets, "explain": paths.explanations, "score": paths.scores}[command[0]]("blobs")
    script = f"import sys, pathlib; from benchmark import store\nwith store.exclusive(pathlib.Path({str(folder)!r})): print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as other:
        other.stdout.readline()
        assert call(*command) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and f"another process is at work in {folder}" in line
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

    monkeypatch.setattr(store.fcntl, "flock", none)
    with store.exclusive(tmp_path), store.exclusive(tmp_path):
        store.write_text(tmp_path / "a", "b")
    assert (tmp_path / "a").read_text() == "b"


# --------------------------------------------------------------------------------------------- clocks


@pytest.mark.parametrize("shift", [-40 * 365 * 86400, 40 * 365 * 86400, 0])
def test_a_clock_that_jumps_makes_nothing_again_and_loses_nothing(done, monkeypatch, shift):
    """Files from the past and from the future, and a clock that goes there and back between two calls."""
    before, made = scored(), {}
    for i, path in enumerate(sorted(store.Paths("tiny").artifacts.rglob("*.*"))):
        os.utime(path, (time.time() + shift * (-1) ** i,) * 2)
        made[path] = path.stat().st_mtime_ns
    real = time.time
    jumps = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: real() + shift * (next(jumps) % 3 - 1))
    assert call("train") == 0 and call("explain") == 0 and call("score") == 0
    again = [path.name for path, stamp in made.items() if path.stat().st_mtime_ns != stamp]
    assert again == ["network.npz"]  # two rows off the card, which are written every time
    assert scored() == before


def test_seconds_do_not_run_backwards_with_the_clock(done, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    for path in store.Paths("tiny").explanations("blobs").rglob("*.npz"):
        path.unlink()
    assert call("explain") == 0
    for cell in run.cells(done.params, "blobs"):
        assert 0 <= cells.read_meta(cell.explanation)["seconds"] < 3600


# --------------------------------------------------------------------------------------------- what a killed run leaves


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a lock file of two stages, committed, and DVC's folder."""
    monkeypatch.setattr(store, "ROOT", tmp_path)
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    stage = {"cmd": "glassbench x", "deps": [{"path": "a", "hash": "md5", "md5": "0" * 32, "size": 1}],
             "outs": [{"path": "b", "hash": "md5", "md5": "1" * 32, "size": 1}]}  # fmt: skip
    stages = {f"stage-{i}@offline": stage for i in range(40)}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    for command in (
        ["init", "-q"],
        ["add", "dvc.lock"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_mend_says_nothing_where_nothing_is_wrong(project, capsys):
    before = (project / "dvc.lock").read_bytes()
    for _ in range(2):
        assert call("mend") == 0
    assert capsys.readouterr() == ("", "") and (project / "dvc.lock").read_bytes() == before


@pytest.mark.parametrize("source", ["its copy", "git"])
@pytest.mark.parametrize("how", ["empty", "cut", "text", "stages"])
def test_a_lock_file_that_a_kill_cut_is_whole_again(project, capsys, source, how):
    lock = project / "dvc.lock"
    whole = lock.read_bytes()
    if source == "its copy":
        assert call("mend") == 0  # a run begins
    if how == "stages":  # cut between two stages: still YAML
        lock.write_bytes(whole[: whole.index(b"  stage-20@offline")])
    else:
        spoil(lock, how)
    if how == "stages" and source == "git":
        return  # no run was cut off, so these are the stages that there are
    assert call("mend") == 0
    assert f"dvc.lock was damaged: taken from {source}" in capsys.readouterr().err
    assert lock.read_bytes() == whole


def test_stages_that_went_while_no_run_was_under_way_are_not_brought_back(project, capsys):
    """Another branch, say: the copy of a run that ended well is gone (the Makefile removes it)."""
    assert call("mend") == 0
    (project / ".dvc" / "tmp" / mend.KEPT).unlink()
    text = (project / "dvc.lock").read_text()
    (project / "dvc.lock").write_text(text[: text.index("  stage-20@offline")])
    assert call("mend") == 0
    assert "stage-20" not in (project / "dvc.lock").read_text() and capsys.readouterr().err == ""


def test_a_lock_file_that_nobody_has_is_removed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(store, "ROOT", tmp_path)
    (tmp_path / "dvc.lock").write_text("schema: [")
    assert call("mend") == 0
    assert "removed" in capsys.readouterr().err and not (tmp_path / "dvc.lock").exists()


@pytest.mark.parametrize("content", ["", "{", '{"write": 3}', '{"read": {"a": [{"pid": "x"}]}}'])
def test_dvcs_list_of_readers_that_a_kill_cut_is_removed(project, capsys, content):
    path = project / ".dvc" / "tmp" / "rwlock"
    path.write_text(content)
    assert call("mend") == 0
    assert not path.exists() and "was damaged" in capsys.readouterr().err


def test_a_reader_whose_number_another_process_has_now_is_no_reader(project, capsys):
    """DVC asks whether there is a process of that number; after a restart there is one, and it is another."""
    path = project / ".dvc" / "tmp" / "rwlock"
    with subprocess.Popen(["sleep", "60"]) as other:
        path.write_text(json.dumps({"write": {"a": {"pid": other.pid, "cmd": "dvc repro"}}, "read": {}}))
        assert call("mend") == 0
        other.kill()
    assert not path.exists() and "processes that are gone" in capsys.readouterr().err


def test_a_dvc_that_is_at_work_is_left_alone(project, capsys):
    path = project / ".dvc" / "tmp" / "rwlock"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "dvc", "repro"]) as other:
        path.write_text(json.dumps({"write": {}, "read": {"a": [{"pid": other.pid, "cmd": "dvc repro"}]}}))
        (project / "results").mkdir()
        (project / "results" / ".a.tmp").write_text("half")
        assert call("mend") == 2
        line = capsys.readouterr().err
        other.kill()
    assert line.count("\n") == 1 and f"process {other.pid}: dvc repro" in line
    assert path.exists() and (project / "results" / ".a.tmp").exists()
    assert call("mend") == 0


def test_temporary_files_of_the_dead_go_and_those_of_the_living_stay(project, capsys, monkeypatch):
    folder = project / "results" / "offline"
    folder.mkdir(parents=True)
    monkeypatch.setattr(mend.tempfile, "gettempdir", lambda: str(project / "tmp"))
    with subprocess.Popen(["true"]) as gone:
        pass
    theirs = f"glassbench-{platform.node()}-{gone.pid}-"
    living = [f"{store.scratch()}x", "other-1-x", f"glassbench-elsewhere-{gone.pid}-x", "pymp-new", "pymp-mine"]
    for name in (f"{theirs}x", "pymp-old", *living):
        (project / "tmp" / name).mkdir(parents=True)
    (project / "tmp" / "pymp-old" / theirs).touch()
    (project / "tmp" / "pymp-mine" / store.scratch()).touch()
    for name in (".rows.csv.abc.tmp", ".SeH2_x.tmp"):  # the house's, DVC's
        (folder / name).write_text("half")
    with store.atomic(folder / "rows.csv") as file:
        file.write(b"half")
        assert call("mend") == 0
        assert len(list(folder.glob(".rows.csv.*.tmp"))) == 1
    assert sorted(p.name for p in folder.iterdir()) == ["rows.csv"]
    assert sorted(p.name for p in (project / "tmp").iterdir()) == sorted(living)
    assert "4 temporary files of a killed run removed" in capsys.readouterr().err


def test_a_killed_writers_file_is_free_to_go(project):
    """The lock on a file that is being written goes with its process."""
    script = ("import pathlib, sys, time; from benchmark import store\n"
              f"with store.atomic(pathlib.Path({str(project / 'results' / 'a')!r})): print(1, flush=True); time.sleep(60)")  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT) as writer:
        writer.stdout.readline()
        assert call("mend") == 0 and len(list((project / "results").iterdir())) == 1
        writer.kill()
        writer.wait()
    assert call("mend") == 0 and not list((project / "results").iterdir())


PARENT = """
import multiprocessing, os, sys, time
from benchmark import engine
from tests.faults.test_lines import tell_and_sleep
if __name__ == "__main__":
    list(engine.run([engine.Unit("a", tell_and_sleep, (sys.argv[1],))], label="x"))
"""


def tell_and_sleep(path):
    store.write_text(path, str(os.getpid()))
    time.sleep(60)


def test_a_worker_dies_with_the_process_that_asked_for_it(tmp_path):
    """Killed alone, as the system does it when memory runs out: nobody is left behind to hold memory, or to write."""
    (tmp_path / "parent.py").write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GLASSBENCH_DEVICE": "cpu"}
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "pid")], env=environment
    ) as parent:
        wait_for((tmp_path / "pid").exists)
        worker = int((tmp_path / "pid").read_text())
        assert is_alive(worker)
        parent.kill()
    wait_for(lambda: not is_alive(worker))


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return "\nState:\tZ" not in file.read()
    except FileNotFoundError:
        return False


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def test_a_fork_servers_folder_is_named_after_its_process(monkeypatch):
    import multiprocessing.util
    from pathlib import Path

    from benchmark import engine, isolation

    engine._context()
    assert isolation.scratch() == store.scratch()
    assert store.scratch() in os.listdir(Path(multiprocessing.util.get_temp_dir()))
