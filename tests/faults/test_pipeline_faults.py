"""Faults of the whole pipeline, with DVC: whatever is spoilt, ``make leaderboard`` makes the same rows again."""

import json
import os
import subprocess
import sys
import time

import pytest

from benchmark import store
from tests.helpers.faults import Project, spoil, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project whose leaderboard is made; its rows, and its lock file."""
    project = Project(tmp_path_factory.mktemp("faults"))
    done = project.run(*project.leaderboard())
    assert done.returncode == 0, done.stdout + done.stderr
    return project, project.rows(), (project.root / "dvc.lock").read_bytes()


def again(made):
    """What ``make leaderboard`` prints; the rows are the same after it, and nothing is left."""
    project, rows, _ = made
    done = project.run(*project.leaderboard())
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.rows() == rows
    project.check_files()
    assert not project.temporary()
    status = project.run("dvc", "status")
    assert "up to date" in status.stdout, status.stdout + status.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("how", ["empty", "cut", "text"])
def test_a_spoilt_lock_file(made, how):
    """DVC alone stops there with lines of its own, or forgets what it has lost."""
    project, _, lock = made
    spoil(project.root / "dvc.lock", how)
    again(made)
    assert (project.root / "dvc.lock").read_bytes() == lock


def test_a_spoilt_list_of_readers(made):
    project = made[0]
    (project.root / ".dvc" / "tmp" / "rwlock").write_text('{"read": {"a"')
    assert project.run("dvc", "repro").returncode
    assert "DVC's list of readers and writers was damaged" in again(made)


def test_a_list_of_readers_with_a_number_that_another_process_has_now(made):
    project = made[0]
    with subprocess.Popen(["sleep", "600"]) as other:
        out = str(project.paths.explanations("digits"))
        entry = {"pid": other.pid, "cmd": "dvc repro"}
        (project.root / ".dvc" / "tmp" / "rwlock").write_text(
            json.dumps({"read": {}, "write": {out: entry}})
        )
        assert "named processes that are gone" in again(made)
        other.kill()


@pytest.mark.parametrize("how", ["empty", "cut", "flipped"])
def test_every_kind_of_file_spoilt_at_once(made, how):
    """Data, weights, card, explanation, scores, replication, rows, board, page, provenance."""
    paths = made[0].paths
    one = [
        next(folder.rglob("*.npz"))
        for folder in (
            paths.explanations("digits"),
            paths.scores("digits"),
            paths.replications("explainn"),
        )
    ]
    weights = paths.target("digits", "cnn", 0)
    for path in [
        *one,
        paths.data("digits"),
        weights,
        weights.with_suffix(".json"),
        paths.rows,
        paths.results / "leaderboard.csv",
        paths.results / "index.html",
        paths.results / "provenance.json",
    ]:
        path.chmod(0o644)
        spoil(path, how)
    again(made)


@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_spoilt_files_in_dvcs_cache(made, how):
    """Files taken from the cache are checked, or recomputed."""
    project, paths = made[0], made[0].paths
    for path in (project.root / ".dvc" / "cache" / "files").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            spoil(path, how)
    for path in [
        paths.data("digits"),
        *paths.explanations("digits").rglob("*.npz"),
        *paths.targets("digits").rglob("*.*"),
    ]:
        path.unlink()
    again(made)


def test_damaged_params(made):
    project = made[0]
    whole = (project.root / "params.yaml").read_text()
    (project.root / "params.yaml").write_text(whole[: len(whole) // 3] + "{")
    done = project.run("glassbench", "explain")
    assert done.returncode == 2 and "glassbench use offline" in done.stderr
    (project.root / "params.yaml").write_text(whole)
    again(made)


@pytest.mark.parametrize("years", [-20, 20])
def test_files_from_the_past_and_the_future(made, years):
    project = made[0]
    stamp = time.time() + years * 365 * 86400
    for path in [
        *project.paths.artifacts.rglob("*"),
        *(project.root / "benchmark").rglob("*.py"),
        project.root / "dvc.lock",
    ]:
        os.utime(path, (stamp, stamp))
    assert "Running stage" not in again(made)  # contents count, not times


def test_two_at_once(made):
    """The second says so and changes nothing; the first ends well."""
    project = made[0]
    for path in project.paths.explanations("digits").rglob("*.npz"):
        path.unlink()
    first = project.start(*project.leaderboard())
    log = project.home / "log.txt"
    wait_for(lambda: "Running stage 'explain" in log.read_text())
    second = project.run(*project.leaderboard())
    assert (
        second.returncode
        and "another dvc is at work" in second.stderr
        and "Traceback" not in second.stderr
    )
    step = project.run("glassbench", "explain")
    assert step.returncode in (0, 2) and "Traceback" not in step.stderr
    assert first.wait(600) == 0, log.read_text()[-2000:]
    again(made)


def test_no_room_for_files(made):
    """No file may grow past six kilobytes: cells fail, and DVC, which empties its lock file before
    it writes it, loses it."""
    project = made[0]
    for path in project.paths.explanations("digits").rglob("*.npz"):
        path.unlink()
    with open(project.root / "dvc.lock", "a") as file:
        file.write("\n")  # DVC has something to write
    limited = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (6144, 6144)); "
        "os.execvp(sys.argv[1], sys.argv[1:])"
    )
    done = project.run(sys.executable, "-c", limited, *project.leaderboard())
    said = (
        "File too large",
        "disk I/O error",
    )  # by glassbench, or by DVC's database, whichever meets the limit first
    assert done.returncode and any(words in done.stderr for words in said), (
        done.stdout + done.stderr
    )
    again(made)


def test_verify_says_verified(made):
    project = made[0]
    done = project.run("glassbench", "verify", "--sample", "3")
    assert done.returncode == 0 and "verified: 3 of 3" in done.stdout, (
        done.stdout + done.stderr
    )
    assert (
        store.read_json(project.paths.results / "provenance.json")["verified"][
            "differing"
        ]
        == {}
    )
    assert "Running stage" not in again(made)  # what verify wrote is no change
    kept = project.paths.rows.read_bytes()
    rows = store.read_rows(project.paths.rows)
    rows.loc[(rows.metric == "average_drop") & (rows.status == "ok"), "value"] = 12.5
    store.write_rows(project.paths.rows, rows)
    done = project.run("glassbench", "verify", "--sample", "100")
    assert done.returncode == 1 and "12.5 committed" in done.stdout, (
        done.stdout + done.stderr
    )
    project.paths.rows.write_bytes(kept)
    again(made)
