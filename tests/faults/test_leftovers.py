"""What a killed run leaves behind is put right: locks, half-written files, temporary ones, processes."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from benchmark import store
from benchmark.store import recovery
from benchmark.utils import temporary
from tests.helpers.command import call, one_line
from tests.helpers.faults import spoil, wait_for
from tests.helpers.places import ROOT, move_root


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a lock file of two stages, committed, and DVC's folder."""
    move_root(monkeypatch, tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(
        tempfile, "tempdir", str(tmp_path / "temporary")
    )  # not what others left
    monkeypatch.setattr(temporary, "_place_of_sockets", lambda: str(tmp_path / "tmp"))
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    stage = {
        "cmd": "glassbench x",
        "deps": [{"path": "a", "hash": "md5", "md5": "0" * 32, "size": 1}],
        "outs": [{"path": "b", "hash": "md5", "md5": "1" * 32, "size": 1}],
    }
    stages = {f"stage-{i}@offline": stage for i in range(40)}
    (tmp_path / "dvc.lock").write_text(
        yaml.safe_dump({"schema": "2.0", "stages": stages})
    )
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
    assert (
        capsys.readouterr() == ("", "")
        and (project / "dvc.lock").read_bytes() == before
    )


@pytest.mark.parametrize("how", ["empty", "cut", "text", "stages"])
def test_a_lock_file_that_a_kill_cut_is_taken_from_its_copy(project, capsys, how):
    lock = project / "dvc.lock"
    whole = lock.read_bytes()
    assert call("mend") == 0  # a run begins
    if how == "stages":  # cut between two stages: still YAML
        lock.write_bytes(whole[: whole.index(b"  stage-20@offline")])
    else:
        spoil(lock, how)
    assert call("mend") == 0
    assert "dvc.lock was damaged: taken from its copy" in capsys.readouterr().err
    assert lock.read_bytes() == whole


@pytest.mark.parametrize(
    "how", ["empty", "cut", "text", "conflict"]
)  # not stages: no run was cut off
def test_a_lock_file_without_a_copy_is_taken_from_git(project, capsys, how):
    lock = project / "dvc.lock"
    whole = lock.read_bytes()
    if how == "conflict":  # as a merge leaves it
        marks = (b"<<<<<<< HEAD\n", b"=======\n", b">>>>>>> theirs\n")
        lock.write_bytes(marks[0] + whole + marks[1] + whole + marks[2])
    else:
        spoil(lock, how)
    assert call("mend") == 0
    assert "dvc.lock was damaged: taken from git" in capsys.readouterr().err
    assert lock.read_bytes() == whole


def test_stages_that_went_while_no_run_was_under_way_are_not_brought_back(
    project, capsys
):
    """Another branch, say: the copy of a run that ended well is gone (the Makefile removes it)."""
    assert call("mend") == 0
    (project / ".dvc" / "tmp" / recovery.KEPT).unlink()
    text = (project / "dvc.lock").read_text()
    (project / "dvc.lock").write_text(text[: text.index("  stage-20@offline")])
    assert call("mend") == 0
    assert (
        "stage-20" not in (project / "dvc.lock").read_text()
        and capsys.readouterr().err == ""
    )


def test_a_lock_file_that_nobody_has_is_removed(tmp_path, monkeypatch, capsys):
    move_root(monkeypatch, tmp_path)
    (tmp_path / "dvc.lock").write_text("schema: [")
    assert call("mend") == 0
    assert "removed" in capsys.readouterr().err and not (tmp_path / "dvc.lock").exists()


STAGE = """
stages:
  a:
    cmd: mkdir -p datasets/processed && echo 1 > datasets/processed/a
    outs: [datasets/processed/a]
"""


def dvc(folder, *arguments):
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("own", ["", "[core]\n    check_update = false\n"])
@pytest.mark.parametrize("place", ["unpacked", "linked"])
def test_dvc_works_without_git_and_with_outputs_on_another_disk(
    project, capsys, place, own
):
    """DVC alone stops in the former, and in the latter after the stage has run."""
    if place == "unpacked":
        shutil.rmtree(project / ".git")
    else:
        (project / "datasets").mkdir()
        (project.parent / f"{project.name}-disk").mkdir()
        (project / "datasets/processed").symlink_to(f"../../{project.name}-disk")
    (project / ".dvc/config").touch()
    (project / ".dvc/config.local").write_text(own)
    (project / "dvc.yaml").write_text(STAGE)
    (project / "dvc.lock").unlink()
    assert call("use", "offline") == 0 and call("mend") == 0
    assert capsys.readouterr().err.count("DVC works without git from now on") == 1
    done = dvc(project, "repro")
    assert done.returncode == 0, done.stderr
    assert (project / "datasets/processed/a").read_text() == "1\n"
    assert (project / "datasets/processed").is_symlink() == (place == "linked")


def test_a_link_inside_the_project_leaves_dvc_its_git(project, capsys):
    (project / "datasets").mkdir()
    (project / "datasets/processed").symlink_to("../temporary")
    assert call("mend") == 0 and capsys.readouterr().err == ""
    assert not (project / ".dvc/config.local").exists()


@pytest.mark.parametrize("command", [["mend"], ["use", "offline"]])
def test_a_link_to_a_disk_that_is_not_there_is_one_line(project, capsys, command):
    (project / "datasets").mkdir()
    (project / "datasets/processed").symlink_to("/nowhere/processed")
    assert call(*command) == 2
    line = one_line(capsys)
    assert "leads to /nowhere/processed, which is not there; mount its disk" in line
    assert not (project / "params.yaml").exists()


def test_a_lost_commit_is_said_before_the_work(project, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert call("mend") == 0
    line = one_line(capsys)
    assert "provenance.json names no commit" in line and "install git" in line


@pytest.mark.parametrize(
    "content", ["", "{", '{"write": 3}', '{"read": {"a": [{"pid": "x"}]}}']
)
def test_dvcs_list_of_readers_that_a_kill_cut_is_removed(project, capsys, content):
    path = project / ".dvc" / "tmp" / "rwlock"
    path.write_text(content)
    assert call("mend") == 0
    assert not path.exists() and "was damaged" in capsys.readouterr().err


def test_a_reader_whose_number_another_process_has_now_is_no_reader(project, capsys):
    """DVC asks whether there is a process of that number; after a restart there is one, and it is another."""
    path = project / ".dvc" / "tmp" / "rwlock"
    with subprocess.Popen(["sleep", "60"]) as other:
        path.write_text(
            json.dumps(
                {"write": {"a": {"pid": other.pid, "cmd": "dvc repro"}}, "read": {}}
            )
        )
        assert call("mend") == 0
        other.kill()
    assert not path.exists() and "processes that are gone" in capsys.readouterr().err


def test_a_dvc_that_is_at_work_is_left_alone(project, capsys):
    path = project / ".dvc" / "tmp" / "rwlock"
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)", "dvc", "repro"]
    ) as other:
        path.write_text(
            json.dumps(
                {"write": {}, "read": {"a": [{"pid": other.pid, "cmd": "dvc repro"}]}}
            )
        )
        (project / "results").mkdir()
        (project / "results" / ".a.tmp").write_text("half")
        assert call("mend") == 2
        line = capsys.readouterr().err
        other.kill()
    assert line.count("\n") == 1 and f"process {other.pid}: dvc repro" in line
    assert path.exists() and (project / "results" / ".a.tmp").exists()
    assert call("mend") == 0


@pytest.mark.parametrize("place", ["temporary", "tmp"])
def test_temporary_files_of_the_dead_go_and_those_of_the_living_stay(
    project, capsys, place
):
    folder = project / "results" / "offline"
    folder.mkdir(parents=True)
    with subprocess.Popen(["true"]) as gone:
        pass
    theirs = temporary.scratch().replace(f"-{os.getpid()}-", f"-{gone.pid}-")
    living = [
        f"{temporary.scratch()}x",
        "other-1-x",
        f"glassbench-elsewhere-{gone.pid}-x",
        "pymp-new",
        "glassbench-x",
    ]
    for name in (f"{theirs}x", f"{theirs}y", *living):
        (project / place / name).mkdir(parents=True)
    for name in (".rows.csv.abc.tmp", ".SeH2_x.tmp"):  # glassbench's, DVC's
        (folder / name).write_text("half")
    with store.atomic(folder / "rows.csv") as file:
        file.write(b"half")
        assert call("mend") == 0
        assert len(list(folder.glob(".rows.csv.*.tmp"))) == 1
    assert sorted(p.name for p in folder.iterdir()) == ["rows.csv"]
    assert sorted(p.name for p in (project / place).iterdir()) == sorted(living)
    assert "4 temporary files of a killed run removed" in capsys.readouterr().err


def test_a_killed_process_that_nobody_has_collected_yet_is_dead(project, capsys):
    """Whoever starts again at once meets it: its parent was killed as well, and the first process may be slow."""
    with subprocess.Popen(["sleep", "60"]) as other:
        folder = (
            project
            / "temporary"
            / f"{temporary.scratch().replace(f'-{os.getpid()}-', f'-{other.pid}-')}x"
        )
        folder.mkdir()
        assert call("mend") == 0 and folder.exists()
        other.kill()
        wait_for(lambda: not is_alive(other.pid))
        assert os.path.exists(f"/proc/{other.pid}")
        assert call("mend") == 0 and not folder.exists()
    assert "1 temporary file of a killed run removed" in capsys.readouterr().err


def test_a_machine_without_proc_asks_for_the_process(monkeypatch):
    monkeypatch.setattr(
        recovery,
        "Path",
        lambda path: Path("/nowhere") if path == "/proc/self" else Path(path),
    )
    with subprocess.Popen(["sleep", "60"]) as other:
        assert recovery._lives(other.pid)
        other.kill()
    assert not recovery._lives(other.pid)


def test_a_killed_writers_file_is_free_to_go(project):
    """The lock on a file that is being written goes with its process."""
    script = (
        "import pathlib, sys, time; from benchmark import store\n"
        f"with store.atomic(pathlib.Path({str(project / 'results' / 'a')!r})): print(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT
    ) as writer:
        writer.stdout.readline()
        assert call("mend") == 0 and len(list((project / "results").iterdir())) == 1
        writer.kill()
        writer.wait()
    assert call("mend") == 0 and not list((project / "results").iterdir())


def test_a_file_that_was_swept_before_it_was_locked_is_begun_again(
    tmp_path, monkeypatch
):
    lock, swept = fcntl.flock, []

    def late(file, how):
        if not swept:
            swept.append(next(tmp_path.glob(".a.*.tmp")))
            swept[0].unlink()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    store.write_text(tmp_path / "a", "b")
    assert (
        swept
        and [path.name for path in tmp_path.iterdir()] == ["a"]
        and (tmp_path / "a").read_text() == "b"
    )


PARENT = """
import multiprocessing, os, sys, time
from benchmark import engine
from tests.helpers.external_methods import tell_and_sleep
if __name__ == "__main__":
    list(engine.run([engine.Unit("a", tell_and_sleep, (sys.argv[1],))], label="x"))
"""


def test_a_worker_dies_with_the_process_that_asked_for_it(tmp_path):
    """Killed alone, as the system does it when memory runs out: nobody is left behind to hold memory, or to write."""
    (tmp_path / "parent.py").write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GLASSBENCH_DEVICE": "cpu"}
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "pid")],
        env=environment,
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


LISTS = """
import multiprocessing.util, os, sys, tempfile
from benchmark import engine
if __name__ == "__main__":
    [done] = engine.run([engine.Unit("a", os.getpid, ())], label="x")
    assert done.error is None and done.result != os.getpid(), done
    folder = os.path.dirname(multiprocessing.util.get_temp_dir())
    mine = [name for name in os.listdir(tempfile.gettempdir()) if name[:4] in ("glas", "pymp")]
    print(folder, os.getpid(), *mine)
"""


@pytest.mark.parametrize("long", [False, True])
def test_a_fork_servers_folder_is_named_after_it_and_removed_with_it(tmp_path, long):
    """Python's own, ``pymp-*``, lies inside: a kill would leave a folder that nobody may remove. Where temporary files
    have a long path it lies in /tmp, as a socket's path may have 107 bytes."""
    (tmp_path / "lists.py").write_text(LISTS)
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        place = (tmp_path / ("long" * 20)) if long else Path(short)
        place.mkdir(exist_ok=True)
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "GLASSBENCH_DEVICE": "cpu",
            "TMPDIR": str(place),
        }
        done = subprocess.run(
            [sys.executable, str(tmp_path / "lists.py")],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        folder, pid, *names = done.stdout.split()
        assert temporary.owner(os.path.basename(folder)) == int(
            pid
        ) and not os.path.exists(folder)
        assert (os.path.dirname(folder), names) == (
            ("/tmp", []) if long else (short, [os.path.basename(folder)])
        )
        assert not [*place.glob("glassbench-*"), *place.glob("pymp-*")]
