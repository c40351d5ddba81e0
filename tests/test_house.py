"""The architecture, checked: which package may import which, file sizes, what lies where."""

import ast
import re
import tomllib

import pytest

from tests.helpers.density import density, functions
from tests.helpers.places import ROOT

# What each package may import of the others, from left to right; api.py is what the author of a method sees.
MAY = {
    "api": {"splits", "utils"},
    "utils": set(),
    "splits": {"utils"},
    "store": {"utils"},
    "shared": {"api", "utils"},
    "data": {"api", "store", "utils"},
    "zoo": {"api", "data", "shared", "splits", "store", "utils"},
    "papers": {"api", "data", "shared", "store", "utils", "zoo"},
    "metrics": {"api", "shared", "store", "utils"},
    "leaderboard": {"store", "utils"},
    "gate": {"leaderboard", "store", "utils"},
    "engine": {"store", "utils"},
    "methods": {"api", "engine", "metrics", "papers", "store", "utils", "zoo"},
    "pipeline": {
        "api",
        "data",
        "engine",
        "leaderboard",
        "methods",
        "metrics",
        "papers",
        "shared",
        "store",
        "utils",
        "zoo",
    },
    "jobs": {
        "api",
        "data",
        "engine",
        "gate",
        "leaderboard",
        "methods",
        "metrics",
        "papers",
        "pipeline",
        "shared",
        "store",
        "utils",
        "zoo",
    },
}
FREE = {"cli", "__main__", "__init__"}  # call everyone, are called by no one


def modules():
    return sorted((ROOT / "benchmark").rglob("*.py"))


def imports(path):
    """Packages of benchmark that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "benchmark":
            found |= {f"benchmark.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    ours = {
        name.split(".")[1] for name in found if name and name.startswith("benchmark.")
    }
    return ours - {"__version__"}


def package(path):
    return path.relative_to(ROOT / "benchmark").parts[0].removesuffix(".py")


def free(path):
    return package(path) in FREE


def relative_imports(path):
    """They would hide which package they reach."""
    tree = ast.walk(ast.parse(path.read_text()))
    return [
        node.module for node in tree if isinstance(node, ast.ImportFrom) and node.level
    ]


@pytest.mark.parametrize(
    "path",
    [path for path in modules() if not free(path)],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_no_package_imports_from_a_package_to_its_right(path):
    own = package(path)
    assert own in MAY, f"say in tests/test_house.py what {own} may import"
    assert imports(path) <= MAY[own] | {own}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_import_is_relative(path):
    assert relative_imports(path) == []


def test_the_arrow_test_sees_a_wrong_arrow(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "def f():\n    from benchmark.leaderboard import build\n    from benchmark import cli\n"
    )
    assert imports(wrong) == {"leaderboard", "cli"}


def test_the_leaderboard_needs_no_torch_and_no_network():
    paths = list((ROOT / "benchmark" / "leaderboard").rglob("*.py"))
    assert paths
    for path in paths:
        names = {n.split(".")[0] for n in _outside(path)}
        assert not names & {
            "torch",
            "torchvision",
            "requests",
            "urllib",
            "socket",
            "http",
        }, path


@pytest.mark.parametrize(
    "path", sorted((ROOT / "baselines").glob("*.py")), ids=lambda p: p.stem
)
def test_a_baseline_sees_the_plug_in_api_only(path):
    assert imports(path) <= {"api", "shared"}
    assert len(path.read_text().splitlines()) < 130


def test_the_plug_in_api_needs_numpy_and_torch_only():
    import sys

    names = {n.split(".")[0] for n in _outside(ROOT / "benchmark" / "api.py")}
    assert names - set(sys.stdlib_module_names) == {"numpy", "torch"}


def test_data_set_scripts_are_no_package():
    assert not (ROOT / "datasets" / "__init__.py").exists()
    assert modules()
    for path in modules():
        assert "datasets" not in {n.split(".")[0] for n in _outside(path)}, path


@pytest.mark.parametrize(
    "path",
    [*modules(), *sorted((ROOT / "baselines").glob("*.py"))],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_a_file_past_700_lines_asks_to_be_two(path):
    assert len(path.read_text().splitlines()) <= 700


PACKAGES = sorted(p.parent for p in (ROOT / "benchmark").glob("*/__init__.py"))


EQUATIONS = {
    "shared": 12.5,
    "gate": 11,
    "leaderboard": 10.5,
}  # packages that are mostly equations


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_a_package_is_no_denser_than_its_models(package):
    limit = EQUATIONS.get(package.name, 10.2)
    assert density(sorted(package.rglob("*.py"))) <= limit


@pytest.mark.parametrize(
    "path",
    [*modules(), *sorted((ROOT / "baselines").glob("*.py"))],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_no_function_is_denser_than_15_nodes_a_line(path):
    assert {name: nodes for name, nodes in functions(path).items() if nodes > 15} == {}


def test_density_counts_nodes_over_lines_of_code(tmp_path):
    path = tmp_path / "some.py"
    path.write_text(
        'def f(x):\n    """More\n    words."""\n    # and more\n    return x\n'
    )
    nodes = [
        "Module",
        "def",
        "arguments",
        "arg",
        "Expr",
        "Constant",
        "return",
        "Name",
        "Load",
    ]
    assert density([path]) == len(nodes) / 2
    assert functions(path) == {"f:1": (len(nodes) - 1) / 5}
    assert functions(path, at_least=6) == {}


def test_nothing_is_unpickled():
    folders = ("datasets", "baselines")
    paths = [
        *modules(),
        *(path for name in folders for path in (ROOT / name).glob("*.py")),
    ]
    assert paths
    for path in paths:
        assert not {n.split(".")[0] for n in _outside(path)} & {
            "pickle",
            "dill",
            "joblib",
            "cloudpickle",
        }, path
        text = path.read_text()
        assert "allow_pickle=True" not in text
        assert "weights_only=False" not in text


UNTRIED = {  # of the leaderboard and the gate: drawing, assembling and showing
    "leaderboard/all_profiles",
    "leaderboard/board",
    "leaderboard/build",
    "gate/picture",
    "gate/show",
}


def test_every_module_of_numbers_has_its_mutants_and_the_tests_that_know_it():
    """``[tool.mutants.tests]`` names all of today's modules, and only tests that are there."""
    text = (ROOT / "pyproject.toml").read_text()
    known = tomllib.loads(text)["tool"]["mutants"]["tests"]
    package = ROOT / "benchmark"
    there = {
        f"{folder}/{path.stem}"
        for folder in ("metrics", "leaderboard", "gate")
        for path in (package / folder).glob("[!_]*.py")
    }
    assert there - known.keys() == UNTRIED
    for module, tests in known.items():
        assert (package / f"{module}.py").exists(), module
        for test in tests:
            name, _, expression = test.partition(" -k ")
            folder, _, leaf = name.rpartition("/")
            source = (ROOT / "tests" / folder / f"test_{leaf}.py").read_text()
            words = set(re.findall(r"[\w.]+", expression)) - {"not", "and", "or", "0"}
            missing = [word for word in words if word not in source]
            assert not missing, f"{module}: {test}"


def _outside(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {
        name
        for name in found
        if name != "__future__" and not name.startswith("benchmark")
    }
