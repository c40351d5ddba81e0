"""``evaluate --baseline``: the gate of a repository that holds only a method, run from its page of the docs."""

import re
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmark import store
from benchmark.cli import main
from benchmark.gate.sources import Source
from benchmark.jobs import baseline, evaluate
from benchmark.utils.near_names import UnknownName
from tests.helpers.command import call
from tests.helpers.leaderboard_inputs import inputs
from tests.helpers.places import ROOT

METHOD = """
from glassbench import Explanation


class GradNorm:
    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        x = batch.x.clone().requires_grad_()
        target(x).amax(dim=1).sum().backward()
        maps = x.grad.abs().sum(dim=1)
        return Explanation(heatmaps=maps)
"""
WORSE = METHOD.replace("heatmaps=maps", "heatmaps=-maps")


@pytest.fixture
def repository(trained, monkeypatch):
    """A folder with a method alone, and what glassbench needs elsewhere."""
    shutil.copytree(ROOT / "results/reported", trained.root / "results" / "reported")
    home = trained.root / "method"
    home.mkdir()
    (home / "mine.py").write_text(METHOD)
    monkeypatch.chdir(home)
    return home


def page(kind=""):
    """The blocks of code of the page's last section."""
    text = (ROOT / "docs" / "gate.md").read_text()
    section = text.partition("## In a repository that holds only a method")[2]
    return re.findall(rf"```{kind}\n(.*?)```", section, re.S)


def run(line, home):
    """A line of the page, as a shell would run it in the folder; results lie where glassbench was told."""
    program, *arguments = shlex.split(line)
    if program == "glassbench":
        return call(*arguments)
    if program == "mkdir":
        Path(*arguments).mkdir()
    elif program == "cp":
        *sources, to = arguments
        for source in sources:
            place = source.replace("/offline/", "/tiny/")
            shutil.copy(home.parent / place, to)
    else:
        assert program == "pip"
    return 0


def test_the_page_in_a_scratch_repository(repository, capfd):
    (commands, *_) = page()
    for line in commands.strip().splitlines():
        assert run(line, repository) == 0, line
    assert {path.name for path in Path("baseline").iterdir()} == {
        "rows.csv",
        "provenance.json",
    }
    (workflow,) = page("yaml")
    steps = yaml.safe_load(workflow)["jobs"]["gate"]["steps"]
    lines = [step["run"] for step in steps if "run" in step]
    assert [run(line, repository) for line in lines] == [0, 0, 0]
    said = capfd.readouterr().out
    assert "passed: same (no cell is), asked for same" in said

    (repository / "mine.py").write_text(WORSE)
    assert run(lines[-1], repository) == 1
    said = capfd.readouterr().out
    assert "failed: worse" in said and "the same 1 networks" in said


def test_a_file_that_is_no_baseline_is_refused_before_the_work(repository, capfd):
    given = ["mine.py:GradNorm", "--no-page", "--baseline", "nowhere.csv"]
    assert call("evaluate", *given) == 2
    assert "'nowhere.csv' is not a rows file" in capfd.readouterr().err


def test_rows_of_another_method_are_no_baseline(tmp_path):
    rows = inputs()[0]
    mine = rows[rows["method"] == "Grad-CAM"]
    others = rows[rows["method"] != "Grad-CAM"]
    found = evaluate.Evaluation(tmp_path, mine, mine, mine, {}, {}, 0, {})
    before = Source("rows.csv", others, {})
    with pytest.raises(UnknownName, match="no method in rows.csv: 'Grad-CAM'"):
        baseline.compare(before, found, store.Paths("offline", tmp_path))


@pytest.mark.parametrize(
    ("kinds", "level"),
    [
        (["unchanged", "new"], "same"),
        (["improvement", "unchanged"], "better"),
        (["improvement", "regression"], "worse"),
        (["improvement", "lost"], "worse"),
        (["unverified"], "worse"),
        ([], "same"),
    ],
)
def test_levels(kinds, level):
    assert baseline.level(pd.DataFrame({"kind": kinds})) == level
    assert baseline.is_under(level, "same") == (level == "worse")
    assert baseline.is_under(level, "better") == (level != "better")


def test_the_command_says_what_can_be_asked_for(capsys):
    with pytest.raises(SystemExit):
        main.main(["evaluate", "a.py:A", "--fail-under", "bettr"])
    assert "did you mean better" in capsys.readouterr().err
