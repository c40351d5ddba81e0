"""``make leaderboard`` with a ``dvc`` that only talks: what is shown, and the exit code."""

import os
import shutil
import stat
import subprocess

import pytest

from tests.helpers.places import ROOT

DVC = '#!/bin/sh\necho "Running stage"\necho "from the step" >&2\nexit {code}\n'
# A make that is called by a make (``make test``) is told its flags and depth, and says where it goes.
ALONE = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
GLASSBENCH = '#!/bin/sh\necho "glassbench $1"\n'


@pytest.fixture
def make(tmp_path):
    """Run ``make leaderboard`` in a folder whose programs are stand-ins: (exit code, stdout, stderr)."""
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for name in (".made", ".for-use"):
        (tmp_path / ".venv" / name).touch()

    def run(*options: str, code: int = 0):
        for name, text in {
            "dvc": DVC.format(code=code),
            "glassbench": GLASSBENCH,
        }.items():
            (folder / name).write_text(text)
            (folder / name).chmod(stat.S_IRWXU)
        command = ["make", "leaderboard", *options]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=ALONE,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_what_dvc_says_of_itself_is_not_shown(make):
    code, out, err = make()
    assert code == 0 and err == "from the step\n"
    assert out.splitlines() == ["glassbench mend", "glassbench use", "glassbench show"]


def test_all_of_it_is_shown_if_it_fails(make):
    code, out, err = make(code=3)
    assert code != 0 and "Error 3" in err
    assert "from the step\nRunning stage\n" in err and "show" not in out


@pytest.mark.parametrize("code", [0, 3])
def test_all_of_it_is_shown_on_request(make, code):
    found, out, _ = make("V=1", code=code)
    assert bool(found) == bool(code) and "Running stage\n" in out
