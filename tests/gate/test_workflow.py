"""What stands around the gate: the workflow's steps are the Makefile's, and DVC's own looks at the
committed files work."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.helpers.places import ROOT

JOBS = yaml.safe_load((ROOT / ".github/workflows/results.yml").read_text())["jobs"]
RANKS = (
    "track,method,normalised_rank\nheatmap,XNN,4.0\nconcept,XNN,{}\nheatmap,ACE,5.0\n"
)


@pytest.mark.parametrize("job", JOBS)
def test_what_a_job_does_is_the_makefiles(job):
    """The other steps only show what these wrote."""
    targets = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )
    runs = [step["run"] for step in JOBS[job]["steps"] if "run" in step]
    made = [run.split()[1] for run in runs if run.startswith("make ")]
    if "bash .ci/run" in runs:
        made += re.findall(
            r"^make ([a-z-]+)", (ROOT / ".ci/run").read_text(), re.MULTILINE
        )
    assert {"test", "leaderboard", "diff"} <= set(made) <= targets
    for run in runs:
        assert run.startswith(("make ", "bash .ci/run")) or "diff/diff.md" in run


def test_the_newest_releases_are_tried_on_the_pythons_that_get_them():
    """numpy 2.5, scipy 1.18 and zennit 1.0 are not made for 3.11."""
    job = JOBS["newest"]
    assert {"3.11", "3.13", "3.14"} <= set(job["strategy"]["matrix"]["python"])
    setups = [step["with"] for step in job["steps"] if "setup-python" in str(step)]
    assert [step["python-version"] for step in setups] == ["${{ matrix.python }}"]


def test_make_runs_in_a_folder_with_a_space(tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".venv/bin").mkdir(parents=True)
    pip = folder / ".venv/bin/python"
    pip.write_text('#!/bin/sh\necho "$@" >> said\n')
    pip.chmod(0o755)
    (folder / ".venv/.made").touch()
    for target in (".venv/.for-tests", "newest"):
        done = subprocess.run(
            ["make", "-s", target], cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    lines = (folder / "said").read_text().splitlines()
    assert len(lines) == 4 and all(line.startswith("-m pip") for line in lines)


def dvc(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def checkout(tmp_path):
    """A repository with the pipeline's files, in which a rank moved since the last commit."""
    for name in (
        "dvc.yaml",
        "params.yaml",
        ".dvc/config",
        ".dvc/.gitignore",
        ".dvc/plots/ranks.json",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    results = tmp_path / "results/offline"
    (results / "plots").mkdir(parents=True)
    for rank in (1.0, 2.0):
        (results / "ranks.csv").write_text(RANKS.format(rank))
        (results / "metrics.json").write_text(
            json.dumps({"normalised_rank": {"concept": {"XNN": rank}}})
        )
        if rank == 1.0:
            identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost")
            for command in (
                ("init", "-q"),
                ("add", "."),
                (*identity, "commit", "-qm", "before"),
            ):
                subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_dvc_metrics_diff_says_which_rank_moved(checkout):
    found = json.loads(dvc(checkout, "metrics", "diff", "HEAD", "--json"))
    assert found == {
        "results/offline/metrics.json": {
            "normalised_rank.concept.XNN": {"old": 1.0, "new": 2.0, "diff": 1.0}
        }
    }


def test_dvc_plots_diff_draws_a_method_of_two_tracks_apart(checkout):
    """Bars of one method and commit in one panel are stacked: their ranks would be added up."""
    dvc(checkout, "plots", "diff", "HEAD", "--out", "drawn")
    page = (checkout / "drawn/index.html").read_text()
    spec, _ = json.JSONDecoder().raw_decode(
        page, page.index("{", page.index("var spec"))
    )
    x, y, row = (spec["encoding"][axis]["field"] for axis in ("x", "y", "row"))
    assert (x, y) == ("normalised_rank", "method")
    bars = [(line[row], line["method"], line["rev"]) for line in spec["data"]["values"]]
    assert len(set(bars)) == len(bars) == 6
