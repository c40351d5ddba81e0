"""The profile ``paper`` from its data sets to its page, cut to a size that one core runs in minutes."""

import warnings

import pytest

from benchmark import engine, store
from benchmark.cli import main
from benchmark.engine import Done, pool
from benchmark.jobs import plan
from benchmark.pipeline import inputs, unit_times
from tests.helpers import small_paper
from tests.helpers.places import ROOT


def in_this_process(units, workers):
    """As on a machine with one GPU: what stands in for torchvision's networks is known here alone."""
    for unit in units:
        yield Done(unit, **engine.measured(unit))


@pytest.fixture
def paper(workspace, monkeypatch):
    """The folder of a project whose profile is the small one; its data come from a mirror."""
    mirror = workspace.root / "mirror"
    small_paper.write_data(workspace.root, mirror)
    small_paper.stand_in(monkeypatch, mirror)
    monkeypatch.setenv("GLASSBENCH_MIRROR", str(mirror))
    monkeypatch.setattr(pool, "_trusted", in_this_process)
    monkeypatch.setattr(engine, "warm_up", lambda *modules: None)
    for folder in ("baselines", "benchmark"):
        (workspace.root / folder).symlink_to(ROOT / folder)
    workspace.params.clear()
    workspace.params.update(small_paper.profile())
    workspace.save()
    inputs.forget()
    yield workspace
    inputs.forget()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_whole_profile_runs_as_its_plan_says(paper):
    profile, paths = paper.profile, store.Paths("paper")
    assert main.main(["prepare"]) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # toys converge to nothing
        for step in ("train", "explain", "score", "replicate", "report"):
            assert main.main([step]) == 0
    planned = plan.plan_profile(profile)
    ran = {key for key in unit_times.read(paths) if key[0] != "stage"}
    assert ran == {(unit.step, unit.name) for unit in planned}
    rows = store.read_rows(paths.rows)
    failed = rows[rows.status == "failed"]
    assert failed.empty, failed[["method", "metric", "reason"]].to_string()
