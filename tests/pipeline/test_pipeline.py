"""The pipeline as DVC sees it, and what the repository promises about itself."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmark import store
from benchmark.cli import main
from benchmark.pipeline import cells, score
from tests.helpers.places import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def expanded(text, profile, dataset):
    for key, value in (("profile", profile), ("dataset", dataset)):
        text = text.replace(f"${{item.{key}}}", value)
    return text


@pytest.mark.parametrize("name", STAGES)
def test_every_code_dependency_is_there(name):
    paths = [
        expanded(dependency, "offline", "digits") for dependency in STAGES[name]["deps"]
    ]
    made = ("results/offline/artifacts", "datasets/processed")
    code = [path for path in paths if not path.startswith(made)]
    assert code
    assert [path for path in code if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", STAGES)
def test_the_profile_is_the_first_key_of_every_stage(name):
    assert next(iter(STAGES[name]["matrix"])) == "profile"


def test_paths_are_those_of_the_store():
    paths = store.Paths("offline", ROOT)
    outs = {}
    for name, stage in STAGES.items():
        outs[name] = [
            next(iter(o)) if isinstance(o, dict) else o for o in stage["outs"]
        ]
        outs[name] = [ROOT / expanded(o, "offline", "digits") for o in outs[name]]
    assert outs["data"] == [paths.data("digits")]
    assert outs["train"] == [paths.targets("digits").parent]
    assert outs["explain"] == [paths.explanations("digits").parent]
    assert outs["score"] == [paths.scores("digits").parent]
    assert outs["replicate"] == [paths.replications("layer_trees").parent]
    assert paths.rows in outs["report"]


def test_a_step_is_one_stage():
    """Each stage starts Python, torch and workers anew; only data sets, which need none of them, have stages of their
    own."""
    split = {name for name, stage in STAGES.items() if len(stage["matrix"]) > 1}
    assert split == {"data"}


def test_a_fresh_clone_is_in_the_offline_profile():
    """params.yaml as committed is the shipped profile: edits of it would be kept by `glassbench use offline`."""
    done = subprocess.run(
        ["git", "show", "HEAD:params.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    assert done.stdout == (ROOT / "benchmark" / "profiles" / "offline.yaml").read_text()


def test_rows_and_page_are_in_git_and_not_in_dvcs_cache():
    settings = [setting for out in STAGES["report"]["outs"] for setting in out.values()]
    assert settings and all(setting["cache"] is False for setting in settings)


def test_the_committed_results_are_whole():
    folder = ROOT / "results" / "offline"
    rows = store.read_rows(folder / "rows.csv")
    assert set(rows.profile) == {"offline"}
    assert not (rows.status == "failed").any(), rows[
        rows.status == "failed"
    ].reason.unique()
    assert {"heatmap", "target"} <= set(rows.track)
    assert {"control", "baseline"} <= set(rows.paper)
    board = pd.read_csv(folder / "leaderboard.csv")
    assert set(board.method.dropna()) <= set(rows.method)
    assert not store.read_json(folder / "provenance.json")["made"]["changed_files"], (
        "made by code that was not committed"
    )


def test_the_readme_is_what_the_results_say(capsys):
    assert main.main(["readme", "--check"]) == 0


def test_the_readmes_method_runs(tmp_path, trained):
    """The example that a reader copies first."""
    from benchmark.pipeline import explain

    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    (tmp_path / "readme.py").write_text(code)
    trained.params["explain"]["methods"] = [f"{tmp_path / 'readme.py'}:GradNorm"]
    (cell,) = cells.cells(trained.profile, "blobs")
    explain.explain_cell(cell)
    score.score_cell(cell)
    rows = store.read_scores(cell.scores)[0]
    assert "failed" not in set(rows.status)
    assert (rows.status == "ok").sum() >= 8


@pytest.mark.parametrize(
    "target", ["leaderboard", "test", "check-results", "readme", "lint", "bench"]
)
def test_the_makefile_says_what_it_would_do(target):
    done = subprocess.run(
        ["make", "-n", target, f"PYTHON={sys.executable}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_no_data_and_no_artifact_is_in_git():
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not files:
        pytest.skip("not a git checkout")
    data = ("datasets/processed", "datasets/raw")
    archives = (".npz", ".safetensors", ".gz", ".tar", ".webp")
    packed = [file for file in files if file.endswith(archives)]
    assert [
        file for file in files if file.startswith(data) or "/artifacts/" in file
    ] == []
    # values.npz: of single images, behind the rows
    assert [file for file in packed if Path(file).name != "values.npz"] == []
