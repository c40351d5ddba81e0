"""Killed at random moments, run again: the same rows bit for bit, no half file, nothing temporary, no lock.

``make faults`` runs these; GLASSBENCH_KILLS (default 50) says how many kills there are in all.
"""

import os
import time

import pytest

from benchmark import store
from tests.faults.harness import Project, moments

pytestmark = [pytest.mark.faults, pytest.mark.timeout(7200)]
KILLS = int(os.environ.get("GLASSBENCH_KILLS", "50"))


def until_done(project, command, kills, longest, seed, check):
    """Start ``command`` over and over, killing it at random moments until it has been killed so often in all; whenever it ends
    by itself, ``check`` what it made and begin anew. Ends with a run that nobody kills."""
    moment, killed = moments(seed, longest), 0
    while True:
        code = project.kill(command, next(moment) if killed < kills else 3600)
        assert not project.orphans(), "processes outlive the group that was killed"
        project.check_files()
        if code is None:
            killed += 1
            print(f"kill {killed}: at {project.stage()}", flush=True)
            continue
        assert code == 0, (project.home / "log.txt").read_text()[-3000:]
        check()
        if killed >= kills:
            return
        project.reset()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def wanted(project):
    """The rows of a run that nobody interrupts, and its seconds."""
    start = time.monotonic()
    done = project.run(*project.leaderboard())
    assert done.returncode == 0, done.stdout + done.stderr
    seconds = time.monotonic() - start
    rows = project.rows()
    project.reset()
    return rows, seconds


def leaderboards(project, rows, others):
    """What must be so after ``make leaderboard``."""

    def check():
        assert project.rows() == rows
        assert not project.temporary()
        assert not project.locks()
        assert project.others() == others
        status = project.run("dvc", "status")
        assert "up to date" in status.stdout, status.stdout + status.stderr

    return check


def test_make_leaderboard_survives_kills(project, wanted):
    rows, seconds = wanted
    until_done(project, project.leaderboard(), KILLS * 3 // 5, seconds, 0, leaderboards(project, rows, {}))


@pytest.mark.skipif(
    "GLASSBENCH_KILLS_OFFLINE" not in os.environ, reason="set GLASSBENCH_KILLS_OFFLINE=10: half an hour"
)
def test_the_whole_offline_profile_survives_kills(tmp_path):
    """As it is shipped; the lock file also holds the other profiles' stages."""
    project = Project(tmp_path, params=None)
    others, start = project.others(), time.monotonic()
    done = project.run(*project.leaderboard(), timeout=3600)
    assert done.returncode == 0, done.stdout + done.stderr
    seconds, rows = time.monotonic() - start, project.rows()
    project.reset()
    kills = int(os.environ["GLASSBENCH_KILLS_OFFLINE"])
    until_done(project, project.leaderboard(), kills, seconds, 2, leaderboards(project, rows, others))


def test_evaluate_survives_kills(project, wanted):
    """Data and network are made on the way; the method runs in a process of its own, which dies with the rest."""
    command = ["glassbench", "evaluate", "mine.py:Mine", "--no-page"]
    written = project.root / "results" / "evaluations" / "offline" / "Mine"

    def rows():
        frame = store.read_rows(written / "rows.csv")
        return store.rows_text(frame.assign(seconds=0.0))

    start = time.monotonic()
    assert project.run(*command).returncode == 0
    seconds, expected = time.monotonic() - start, rows()
    project.reset()

    def check():
        assert rows() == expected
        project.run("glassbench", "mend")
        assert not project.temporary()

    until_done(project, command, KILLS - KILLS * 3 // 5, seconds, 1, check)


def test_only_the_first_process_killed_leaves_nobody_behind(project, wanted):
    """As the system does it when memory runs out: workers and strangers' processes notice, and end."""
    for step in ("prepare", "train"):
        assert project.run("glassbench", step).returncode == 0
    for command in (["glassbench", "explain"], ["glassbench", "evaluate", "mine.py:Mine", "--no-page"]):
        process = project.start(*command)
        end = time.monotonic() + 120
        while len(list(project.alive())) < 4 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)  # fork server, resource tracker, a worker
        process.kill()
        process.wait()
        assert not project.orphans(patience=60), command
        project.check_files()
