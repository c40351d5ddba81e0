"""Where rows to compare come from: other profiles, revisions, and what is said where there are none."""

from __future__ import annotations

import subprocess

import pandas as pd
import pytest

from benchmark import store
from benchmark.gate import sources
from benchmark.store import git, paths
from tests.helpers.leaderboard_inputs import inputs

PROFILES = ("large", "offline", "small")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return inputs()[0].iloc[:6]


@pytest.fixture
def project(tmp_path, rows):
    """A git repository with the rows of three profiles; those of ``offline`` are committed."""
    for profile in PROFILES:
        store.write_rows(
            tmp_path / "results" / profile / "rows.csv", rows.assign(profile=profile)
        )
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (
        ["init", "-q"],
        ["add", "results/offline"],
        ["commit", "-q", "-m", "results"],
    ):
        subprocess.run([*git, *command], check=True)
    return store.Paths("offline", tmp_path)


def test_elsewhere_are_all_other_profiles(project, rows):
    found = sources.elsewhere(project)
    assert list(found["profile"]) == ["large"] * len(rows) + ["small"] * len(rows)
    assert list(found.index) == list(range(2 * len(rows)))
    for profile in ("large", "small"):
        store.Paths(profile, project.root).rows.unlink()
    assert sources.elsewhere(project) is None


def test_what_came_with_a_wheel_is_elsewhere_only_there(
    project, rows, tmp_path, monkeypatch
):
    shipped = store.Paths("quick", tmp_path / "shipped")
    store.write_rows(shipped.rows, rows.assign(profile="quick"))
    monkeypatch.setattr(paths, "PROJECT", shipped.root)
    assert set(sources.elsewhere(project)["profile"]) == {"large", "small"}
    monkeypatch.setattr(store, "IS_WHEEL", True)
    found = sources.elsewhere(project)
    assert set(found["profile"]) == {"large", "small", "quick"}


def test_other_profiles_are_read_only_where_rows_differ(project, rows, monkeypatch):
    asked = []
    compare = lambda old, new, others, **_: asked.append(others)
    monkeypatch.setattr(sources.diff, "compare", compare)
    base = sources.Source("a", rows, {})
    sources.compare(base, base, project)
    sources.compare(base, sources.Source("b", rows.iloc[1:], {}), project)
    assert asked[0] is None and len(asked[1]) == 2 * len(rows)


@pytest.mark.parametrize(
    ("is_wheel", "name"), [(False, "the working tree"), (True, "this version")]
)
def test_the_rows_at_hand_are_called_what_they_are(
    project, monkeypatch, is_wheel, name
):
    monkeypatch.setattr(store, "IS_WHEEL", is_wheel)
    assert sources.load(None, project).name == name


def test_a_revision_goes_by_its_name_and_commit(project, rows):
    head = subprocess.run(
        ["git", "-C", str(project.root), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
    )
    found = sources.load("HEAD", project)
    assert (
        found.name == f"HEAD ({head.stdout.strip()})"
        and found.provenance == {}
        and len(found.rows) == len(rows)
    )


def test_git_says_why_there_are_no_rows(project):
    with pytest.raises(
        store.StoreError, match=r"no git revision with them \(fatal: .*nonsense"
    ):
        sources.load("nonsense", project)
    with pytest.raises(
        store.StoreError,
        match=r"no git revision with them \(fatal: .*results/small/rows.csv",
    ):
        sources.load("HEAD", store.Paths("small", project.root))


def test_without_git_there_are_files_only(project, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        store.StoreError,
        match=r"no git revision with them \(git cannot be run .*install git\)",
    ):
        sources.load("HEAD", project)
    assert sources.load(str(project.rows), project).name == str(project.rows)


def test_rows_that_cannot_be_read_are_one_line(monkeypatch):
    def damaged(file):
        raise ValueError("a\n" + "x" * 500)

    monkeypatch.setattr(store, "parse_rows", damaged)
    with pytest.raises(store.StoreError) as error:
        sources._parse("", "HEAD~9")
    assert (
        str(error.value)
        == f"the rows of 'HEAD~9' cannot be read (ValueError: a {'x' * 198}); give a newer revision"
    )


def test_a_silent_git_leaves_no_empty_brackets(project, monkeypatch):
    monkeypatch.setattr(git, "ask", lambda root, *arguments: (b"", ""))
    with pytest.raises(store.StoreError, match="no git revision with them$"):
        sources.load("HEAD", project)
