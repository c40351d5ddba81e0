"""Where files are looked for: in a clone, in a wheel, and where GLASSBENCH_HOME says."""

import pytest

from benchmark import store
from benchmark.store import git, paths
from tests.helpers.places import ROOT, move_root


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """Paths as an installed wheel sees them; the working directory holds a user's files of the same names."""
    shipped, home = tmp_path / "site" / "glassbench_shipped", tmp_path / "home"
    for place, text in ((shipped, '"""Ours."""\n'), (home, '"""A user\'s."""\n')):
        for name in ("baselines/grad_cam.py", "datasets/cub.py"):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
    (home / "datasets" / "loader.py").write_text("import torch\n")
    (home / "datasets" / "mine.py").write_text(f'"""mine ({paths.MADE_BY})."""\n')
    (shipped / "results" / "offline").mkdir(parents=True)
    (shipped / "results" / "offline" / "rows.csv").write_text("rows\n")
    move_root(monkeypatch, home)
    for module in (store, paths):
        monkeypatch.setattr(module, "IS_WHEEL", True)
        monkeypatch.setattr(module, "PROJECT", shipped)
    return shipped, home


def test_a_wheel_takes_no_file_of_the_user_for_its_own(wheel):
    shipped, home = wheel
    assert store.find("baselines/grad_cam.py") == shipped / "baselines" / "grad_cam.py"
    assert store.find("benchmark/api.py") == ROOT / "benchmark" / "api.py"
    assert store.find("net.py") == home / "net.py"
    assert home not in store.homes()
    assert store.scripts() == {
        "cub": shipped / "datasets" / "cub.py",
        "mine": home / "datasets" / "mine.py",
    }


def test_a_wheel_reads_the_rows_that_came_with_it(wheel):
    shipped, home = wheel
    here = store.Paths("offline")
    assert here.rows.is_relative_to(home)
    assert here.committed.rows == shipped / "results" / "offline" / "rows.csv"
    assert here.reported == shipped / "results" / "reported"
    here.rows.parent.mkdir(parents=True)
    here.rows.write_text("rows\n")
    assert here.committed.rows == here.rows
    assert store.Paths("other").committed.rows == store.Paths("other").rows


def test_a_wheel_knows_its_commit(wheel):
    shipped, _ = wheel
    assert git.commit(shipped)[0] == ""
    (shipped / git.COMMIT).write_text("a" * 40 + "\n")
    assert git.commit(shipped) == ("a" * 40, "")


@pytest.mark.parametrize(
    ("named", "in_clone", "in_wheel"),
    [
        ({"GLASSBENCH_HOME": "elsewhere"}, "elsewhere", "elsewhere"),
        ({"GLASSBENCH_ROOT": "a", "GLASSBENCH_HOME": "b"}, "a", "a"),
        ({}, ROOT, ""),
    ],
)
def test_where_results_go(tmp_path, monkeypatch, named, in_clone, in_wheel):
    for key in ("GLASSBENCH_HOME", "GLASSBENCH_ROOT"):
        monkeypatch.delenv(key, raising=False)
    for key, value in named.items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(tmp_path)
    assert paths._root() == tmp_path / in_clone
    monkeypatch.setattr(paths, "IS_WHEEL", True)
    assert paths._root() == tmp_path / in_wheel
