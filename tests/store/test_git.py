"""What git says of the project, wherever that lies, and in one line why it says nothing."""

import shlex
import subprocess

import pytest

from benchmark.store import git


def run(folder, *command):
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    whole = ["git", "-C", str(folder), *who, *command]
    done = subprocess.run(whole, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path):
    """A repository with two commits, in a folder whose name has a space."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    run(folder, "init", "-q")
    for _ in range(2):
        run(folder, "commit", "-q", "--allow-empty", "-m", "as it is")
    return folder


def head(folder):
    return run(folder, "rev-parse", "HEAD"), ""


def test_a_detached_head_has_its_commit(clone):
    run(clone, "checkout", "-q", "--detach", "HEAD~1")
    assert git.commit(clone) == head(clone)


def test_a_worktree_has_its_commit(clone):
    run(clone, "worktree", "add", "-q", "../tree", "HEAD~1")
    tree = clone.parent / "tree"
    assert git.commit(tree) == head(tree)


def test_a_shallow_clone_has_its_commit_and_says_what_brings_the_others(clone):
    shallow = clone.parent / "shallow"
    run(clone, "clone", "-q", "--depth=1", clone.as_uri(), str(shallow))
    assert git.commit(shallow) == head(clone)
    found, why = git.ask(shallow, "rev-parse", "--verify", "HEAD~1")
    assert found == b"" and "a shallow clone; `git fetch --unshallow`" in why
    run(shallow, "fetch", "-q", "--unshallow")
    assert git.ask(shallow, "rev-parse", "--verify", "HEAD~1")[1] == ""


def test_without_the_program(clone, monkeypatch):
    monkeypatch.setenv("PATH", "")
    found, why = git.commit(clone)
    assert found == "" and why.endswith("; install git") and "\n" not in why


@pytest.mark.parametrize("outer", ["folder", "clone"])
def test_a_project_that_is_no_clone_has_no_commit(clone, tmp_path, outer):
    """Not that of a repository around it, either."""
    folder = (clone if outer == "clone" else tmp_path) / "unpacked"
    folder.mkdir()
    assert git.commit(folder) == ("", f"{folder} is not a git clone")


def test_a_clone_of_another_user_names_the_command_that_lets_git_read_it(
    clone, tmp_path, monkeypatch
):
    wanted = head(clone)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # of git itself
    found, why = git.commit(clone)
    assert found == "" and "belongs to another user" in why and "\n" not in why
    subprocess.run(shlex.split(why.split("`")[1]), check=True)
    assert git.commit(clone) == wanted
