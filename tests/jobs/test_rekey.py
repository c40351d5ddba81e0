"""Committed results move to today's keys where the code is proven to mean the same, and only there."""

import shutil
import subprocess

import pytest

from benchmark import store
from benchmark.cli import main
from benchmark.jobs import rekey
from benchmark.pipeline import keys, provenance
from benchmark.store.code_hash import Code
from tests.helpers.places import ROOT


def git(folder, *command):
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *command],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def project(workspace, monkeypatch):
    """A repository whose committed code is ours, with results that say so."""
    for folder in ("benchmark", "baselines", "datasets"):
        ignored = shutil.ignore_patterns("__pycache__", "processed", "raw")
        shutil.copytree(
            ROOT / folder, workspace.root / folder, ignore=ignored, dirs_exist_ok=True
        )
    workspace.params["explain"]["methods"] = ["baselines/random_map.py:RandomMap"]
    workspace.save()
    git(workspace.root, "init", "-q")
    git(
        workspace.root, "add", "-f", "benchmark", "baselines", "datasets", "params.yaml"
    )
    git(workspace.root, "commit", "-qm", "as it is")
    monkeypatch.setattr(keys, "CODE", Code(workspace.root))
    keys.step_hash.cache_clear()
    facts = provenance.code(workspace.profile) | {
        "made": {"commit": git(workspace.root, "rev-parse", "HEAD")}
    }
    store.write_json(
        store.Paths("tiny").results / "provenance.json",
        facts | {"profile": "tiny", "data": {}, "weights": {}},
    )
    yield workspace
    keys.step_hash.cache_clear()


def edit(root, file, old, new):
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))
    keys.step_hash.cache_clear()


def test_words_and_places_are_proven(project):
    edit(project.root, "benchmark/metrics/complexity.py", '"""', '"""In other words: ')
    (project.root / "benchmark" / "methods" / "contract.py").rename(
        project.root / "benchmark" / "rules.py"
    )
    for user in ("again", "protocol", "replicate"):
        edit(
            project.root,
            f"benchmark/pipeline/{user}.py",
            "from benchmark.methods.contract import",
            "from benchmark.rules import",
        )
    moved = rekey.rekey_profile(project.profile)
    assert moved.unproven == [] and moved.compared > 100
    assert moved.facts["steps"]["explain"] == keys.step_hash("explain")[:16]
    assert (
        moved.facts["rekeyed"]["base"]
        == moved.facts["rekeyed"]["by"]
        == git(project.root, "rev-parse", "HEAD")
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        (
            "benchmark/metrics/complexity.py",
            "import numpy as np",
            "import math as np",
            "metrics.complexity",
        ),
        (
            "benchmark/metrics/faithfulness.py",
            "    log_odds,",
            "    logits_at as log_odds,",
            "metrics.faithfulness",
        ),
        (
            "benchmark/methods/contract.py",
            "ROUNDING = 0.02",
            "ROUNDING = 0.03",
            "contract.ROUNDING",
        ),
        (
            "baselines/random_map.py",
            "rng.random",
            "rng.normal",
            "random_map.py.RandomMap",
        ),
    ],
)
def test_what_could_change_a_number_is_named_and_nothing_is_written(
    project, capsys, file, old, new, named
):
    before = (store.Paths("tiny").results / "provenance.json").read_bytes()
    edit(project.root, file, old, new)
    assert main.main(["rekey"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and named in line and "--sample" in line
    assert (store.Paths("tiny").results / "provenance.json").read_bytes() == before


def test_rows_of_other_code_are_refused(project, capsys):
    path = store.Paths("tiny").results / "provenance.json"
    facts = store.read_json(path)
    store.write_json(path, facts | {"metrics": facts["metrics"] | {"gini": "0"}})
    assert main.main(["rekey"]) == 2
    assert "metrics gini: the rows were made by other code" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("facts", "options", "words"),
    [
        ([], [], "does not say what code made the rows"),
        ({}, [], "does not say what code made the rows"),
        ({"methods": {}, "steps": {}}, [], "does not say what code made the rows"),
        (None, ["--base", "nothing"], "no commit 'nothing' here"),
        (None, ["--base=--output=x"], "no commit '--output=x' here"),
    ],
)
def test_an_odd_base_is_one_line(project, capsys, facts, options, words):
    if facts is not None:
        store.write_json(store.Paths("tiny").results / "provenance.json", facts)
    assert main.main(["rekey", *options]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and words in line
