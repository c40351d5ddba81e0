"""The wheel: what is packed, what is refused, and that it works where no clone is."""

import json
import shutil
import subprocess

import pytest
import yaml

from benchmark import data, engine, store
from benchmark.pipeline import prerequisites
from benchmark.store import paths
from tests.helpers.places import ROOT
from tests.helpers.workspace import blobs
from tools import wheel

ROW = "profile,track,paper,dataset,target\noffline,heatmap,baseline,blobs,cnn\n"


@pytest.fixture
def clone(tmp_path):
    """A clone with committed rows of one explained network and one that is not explained, both made here."""
    results = tmp_path / "results" / "offline"
    targets = results / "artifacts" / "targets" / "blobs"
    targets.mkdir(parents=True)
    data = tmp_path / "datasets" / "processed" / "offline" / "blobs.npz"
    data.parent.mkdir(parents=True)
    data.write_bytes(b"images")
    facts = {"data": {"blobs": store.sha256(data)[:16]}, "weights": {}}
    for name in ("cnn-0", "mlp-0"):
        path = targets / f"{name}.safetensors"
        path.write_bytes(name.encode())
        path.with_suffix(".json").write_text("{}")
        facts["weights"][f"blobs/{name}"] = store.sha256(path)[:16]
    (results / "rows.csv").write_text(ROW)
    (results / "provenance.json").write_text(json.dumps(facts))
    return tmp_path


def test_networks_that_the_committed_rows_explain_are_packed(clone):
    assert wheel.lacking(clone) == []
    import setup

    shipped = {str(path) for path in setup.shipped(clone)}
    assert shipped == {
        "datasets/processed/offline/blobs.npz",
        "results/offline/artifacts/targets/blobs/cnn-0.json",
        "results/offline/artifacts/targets/blobs/cnn-0.safetensors",
        "results/offline/provenance.json",
        "results/offline/rows.csv",
    }


def test_others_are_refused(clone, monkeypatch, capsys):
    weights = clone / "results/offline/artifacts/targets/blobs/cnn-0.safetensors"
    weights.write_bytes(b"trained again")
    (clone / "datasets/processed/offline/blobs.npz").unlink()
    assert wheel.lacking(clone) == [
        "data blobs: missing",
        "network blobs/cnn-0: not what the committed rows were made of",
    ]
    monkeypatch.setattr(wheel, "HERE", clone)
    monkeypatch.setattr("sys.argv", ["wheel"])
    assert wheel.main() == 1
    assert "no wheel: `make leaderboard` makes" in capsys.readouterr().out
    import setup

    names = {path.name for path in setup.shipped(clone)}
    assert "cnn-0.safetensors" not in names and "rows.csv" in names


@pytest.fixture
def installed(trained, tmp_path, monkeypatch):
    """Data and network of the workspace lie in what came with a wheel; where results go there is nothing."""
    card = {"name": "blobs", "classes": list("abcd"), "params": {}}
    data.save(store.Paths("tiny").data("blobs"), blobs(), card)
    shipped = tmp_path / "shipped"
    for name in ("datasets", "results"):
        shutil.move(trained.root / name, shipped / name)
    for module in (store, paths):
        monkeypatch.setattr(module, "IS_WHEEL", True)
        monkeypatch.setattr(module, "PROJECT", shipped)

    def run(*arguments, **options):
        raise AssertionError("something is trained")

    monkeypatch.setattr(engine, "run", run)
    return trained


def test_networks_that_came_along_are_not_trained_again(installed):
    prerequisites.make_ready(installed.profile, "blobs")
    here, there = store.Paths("tiny"), store.Paths("tiny").shipped
    for a, b in (
        (here.data("blobs"), there.data("blobs")),
        (here.target("blobs", "cnn", 0), there.target("blobs", "cnn", 0)),
    ):
        assert a.read_bytes() == b.read_bytes() and a != b


def test_a_network_of_another_recipe_is_trained(installed):
    installed.params["zoo"]["blobs"]["cnn"]["lr"] = 0.001
    with pytest.raises(AssertionError, match="something is trained"):
        prerequisites.make_ready(installed.profile, "blobs")


@pytest.mark.slow
def test_it_works_where_no_clone_is(tmp_path):
    """Built of a clone whose offline is one small network, installed beside the libraries of this environment."""
    clone = tmp_path / "clone"
    listed = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        if not name.startswith(("results/", "tests/", "findings/", "docs/")):
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    profile = clone / "benchmark" / "profiles" / "offline.yaml"
    profile.write_text(yaml.safe_dump(small(yaml.safe_load(profile.read_text()))))
    built = wheel.build(clone, tmp_path / "dist", "--no-build-isolation")
    programs = wheel.installed(built, tmp_path / "environment")
    before = wheel.files(programs.parent)
    tried = wheel.tried(programs, tmp_path / "home")
    found = {command: said for command, _, said in tried}
    assert wheel.files(programs.parent) == before
    assert "Grad-CAM" in found["list methods"]
    rows = store.read_rows(tmp_path / "home" / wheel.ROWS)
    assert set(rows.method) == {"GradNorm"} and (rows.status == "ok").any()
    assert "passed" in found[f"diff {wheel.ROWS} {wheel.ROWS}"]


def small(profile):
    """One network of the digits, trained for an epoch."""
    cnn = profile["zoo"]["digits"]["cnn"] | {"epochs": 1, "seeds": [0]}
    explain = {"images": 8, "reference": 16, "methods": []}
    explain["methods"] = ["baselines/random_map.py:RandomMap"]
    return {
        "profile": "offline",
        "datasets": ["digits"],
        "papers": [],
        "data": {"digits": profile["data"].get("digits", {})},
        "zoo": {"digits": {"cnn": cnn}},
        "explain": explain,
        "replicate": {},
    }
