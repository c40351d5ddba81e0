"""Methods, metrics and data sets of an installed package, by the names of its entry points."""

import sys

import pytest

from benchmark import data, store
from benchmark.cli import main
from benchmark.methods.registry import MethodRef
from benchmark.pipeline import cells, explain, own_scores
from benchmark.pipeline.profile import Profile
from benchmark.utils import installed
from benchmark.utils.near_names import ProfileError, UnknownName

FILES = {
    "lab-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: lab\nVersion: 1.2\n",
    "lab-1.2.dist-info/entry_points.txt": """
[glassbench.methods]
flat = lab.methods:Flat

[glassbench.metrics]
peak = lab.inner.metrics:peak_width
broken = lab.methods:nothing
lost = lab.nowhere:f

[glassbench.datasets]
stripes = lab.stripes
gone = lab.nowhere
""",
    "lab/__init__.py": "",
    "lab/inner/__init__.py": "",
    "lab/tools.py": "def grey(x):\n    return x.mean(dim=1)\n",
    "lab/methods.py": '''"""The grey image itself.

More.
"""

from benchmark.api import Explanation

from .tools import grey


class Flat:
    name = "Flat"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        return Explanation(heatmaps=grey(batch.x))
''',
    "lab/inner/metrics.py": """
from benchmark.api import metric


@metric(needs={"heatmaps"}, track="heatmap", better="lower", unit="fraction", version=1, source="lab")
def peak_width(e, target, batch, rng):
    return (e.heatmaps > e.heatmaps.max((1, 2), keepdims=True) / 2).mean((1, 2))
""",
    "lab/stripes.py": '''"""Stripes."""

import sys

import numpy as np

from benchmark.data.download import main

DEFAULTS = {"size": 8}


def prepare(params, folder):
    size = params["size"]
    x = np.zeros((4, 1, size, size), np.uint8)
    x[::2, :, ::2] = 255
    arrays = {"classes": ["down", "across"]}
    for split in ("train", "test"):
        arrays |= {f"x_{split}": x, f"y_{split}": np.array([0, 1, 0, 1])}
    return arrays, {"title": "Stripes", "licence": "none"}


if __name__ == "__main__":
    sys.exit(main("stripes", prepare, DEFAULTS, __doc__))
''',
}


@pytest.fixture
def lab(tmp_path_factory, monkeypatch):
    """A package that is installed, as far as Python can tell."""
    site = tmp_path_factory.mktemp("site")
    for name, text in FILES.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(site)
    installed.found.cache_clear()
    yield site
    installed.found.cache_clear()


def test_they_are_found_and_not_imported(lab):
    flat = installed.found("methods")["flat"]
    assert (flat.package, flat.path) == ("lab 1.2", lab / "lab" / "methods.py")
    assert (
        installed.found("metrics")["peak"].path == lab / "lab" / "inner" / "metrics.py"
    )
    assert (
        installed.module_of(lab / "lab" / "inner" / "metrics.py") == "lab.inner.metrics"
    )
    assert installed.module_of(lab / "lab" / "__init__.py") == "lab"
    assert installed.module_of(lab / "alone.py") == ""
    assert installed.file_of("no_such_package.at_all") is None
    assert not [name for name in sys.modules if name.split(".")[0] == "lab"]


def test_a_file_in_a_package_that_python_would_not_find_is_no_module(tmp_path):
    package = tmp_path / "unheard_of"
    package.mkdir()
    for name in ("__init__.py", "mine.py"):
        (package / name).touch()
    assert installed.module_of(package / "mine.py") == ""


def test_two_packages_with_one_name_are_refused(lab):
    other = lab / "other-3.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 3\n")
    (other / "entry_points.txt").write_text("[glassbench.methods]\nflat = other:Flat\n")
    with pytest.raises(UnknownName, match="uninstall one of them") as caught:
        MethodRef.parse("flat")
    assert installed.file_of("") is None
    assert "lab 1.2" in str(caught.value) and "other 3" in str(caught.value)


def test_a_profile_names_them_by_their_entry_points(lab, trained):
    trained.params["explain"] |= {"methods": [{"use": "flat"}], "metrics": ["peak"]}
    profile = trained.profile
    assert Profile.parse(profile.as_mapping()) == profile
    assert profile.as_mapping()["explain"]["methods"] == ["flat"]
    assert profile.as_mapping()["explain"]["metrics"] == ["peak"]
    assert not profile.explain.methods[0].own
    list(explain.explain_images(profile, "blobs"))
    done = list(own_scores.score_all(profile, "blobs"))
    assert not [d.error for d in done if d.error]
    (cell,) = cells.cells(profile, "blobs")
    (path,) = own_scores.files(profile, [cell])
    rows, values, _ = store.read_scores(path)
    assert rows[["method", "metric", "status"]].values.tolist() == [
        ["Flat", "peak_width", "ok"]
    ]
    assert len(values[0]) == 8
    assert "lab" not in sys.modules


def test_they_are_listed_with_the_package_that_they_are_from(lab, workspace, capsys):
    assert main.main(["list", "methods", "Flat"]) == 0
    said = capsys.readouterr().out
    assert "lab 1.2" in said and "The grey image itself." in said
    assert main.main(["list", "metrics", "--json"]) == 0
    said = capsys.readouterr().out
    assert '"from": "lab 1.2"' in said and '"use": "peak"' in said
    assert "cannot be used: broken: no metric in methods.py: 'nothing'" in said
    assert (
        "'lost' of lab 1.2 names the module lab.nowhere, of which there is no file"
        in said
    )
    assert main.main(["list", "datasets"]) == 0
    assert "lab 1.2" in capsys.readouterr().out


def test_a_data_set_is_prepared_and_its_parameters_are_checked(lab, workspace):
    workspace.params |= {
        "datasets": ["stripes"],
        "data": {"stripes": {"size": 6}},
        "zoo": {"stripes": {}},
    }
    assert workspace.profile.datasets == ("stripes",)
    workspace.save()
    assert main.main(["prepare", "stripes"]) == 0
    assert data.load(store.Paths("tiny").data("stripes")).input_shape == (1, 6, 6)
    workspace.params["data"]["stripes"] = {"sise": 6}
    with pytest.raises(ProfileError, match="did you mean size"):
        _ = workspace.profile


def test_a_wrong_name_is_answered_with_those_that_are_installed(lab):
    with pytest.raises(
        UnknownName, match="installed: no methods 'flot'; did you mean flat"
    ):
        MethodRef.parse("flot")
