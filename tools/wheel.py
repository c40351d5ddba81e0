"""Builds the wheel and tries it where no clone is: ``python -m tools.wheel`` (``make wheel``).

It refuses to build a wheel that lacks a network or images of ``offline``, or has others than the committed rows were
made of: what it holds follows from the commit. Then the wheel is installed into an empty environment outside the
clone, which borrows the libraries of this one (with ``--alone`` those that the wheel names are installed, gigabytes),
and there a method is checked, evaluated and compared.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
METHOD = """
import glassbench


class GradNorm:
    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        x = batch.x.clone().requires_grad_()
        target(x).amax(dim=1).sum().backward()
        return glassbench.Explanation(heatmaps=x.grad.abs().sum(dim=1))
"""
ROWS = "results/evaluations/offline/GradNorm/rows.csv"
TRIES = (
    ("list", "methods"),
    ("list", "datasets"),
    ("check", "mine.py:GradNorm"),
    ("evaluate", "mine.py:GradNorm"),
    ("diff", ROWS, ROWS),
)


def lacking(clone: Path) -> list[str]:
    """What a wheel of this clone would lack, a line each."""
    sys.path.insert(0, str(HERE))
    import setup

    return [f"{name}: {why}" for name, (_, why) in setup.packed(clone).items() if why]


def build(clone: Path, out: Path, *options: str) -> Path:
    """The wheel of a clone, in ``out``."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", *options]
    subprocess.run([*command, "-w", out, clone], check=True)
    return max(out.glob("glassbench-*.whl"), key=os.path.getmtime)


def installed(wheel: Path, folder: Path, alone: bool = False) -> Path:
    """An environment in ``folder`` with the wheel, and the libraries of this one; returns its ``bin``.

    Args:
        alone: install the libraries that the wheel names instead.
    """
    venv.create(folder, with_pip=False)
    programs = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python")]
    how = ["--constraint", HERE / "constraints.txt"] if alone else ["--no-deps"]
    environment = {**os.environ, "PYTHONPATH": ""}
    command = [*pip, "install", "-q", *how, wheel]
    subprocess.run(command, check=True, env=environment)
    if not alone:
        (site(folder) / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return programs


def site(folder: Path) -> Path:
    """The ``site-packages`` of an environment."""
    (found,) = folder.glob("lib/python*/site-packages")
    return found


def files(folder: Path) -> dict[Path, int]:
    """The files that a wheel put into an environment, and when they were changed."""
    found = {}
    for name in ("benchmark", "glassbench_shipped"):
        for path in (site(folder) / name).rglob("*"):
            if "__pycache__" not in path.parts:
                found[path] = path.stat().st_mtime_ns
    return found


def tried(
    programs: Path, home: Path, tries: Sequence[Sequence[str]] = TRIES
) -> list[tuple[str, float, str]]:
    """Run commands of the installed wheel in ``home``: each command, its seconds, and what it printed.

    Raises:
        CalledProcessError: one failed.
    """
    home.mkdir(parents=True, exist_ok=True)
    (home / "mine.py").write_text(METHOD)
    kept = {"PATH", "HOME", "LANG", "TMPDIR", "GLASSBENCH_MIRROR", "GLASSBENCH_DEVICE"}
    environment = {key: os.environ[key] for key in kept & os.environ.keys()}
    found = []
    for arguments in tries:
        begun = time.perf_counter()
        command = [programs / "glassbench", *arguments]
        done = subprocess.run(
            command,
            cwd=home,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            print(done.stdout, done.stderr, file=sys.stderr)
            done.check_returncode()
        seconds = time.perf_counter() - begun
        found.append((" ".join(arguments), seconds, done.stdout + done.stderr))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "dist")
    what = "install the libraries that it names, too"
    parser.add_argument("--alone", action="store_true", help=what)
    options = parser.parse_args()
    if lines := lacking(HERE):
        print("no wheel: `make leaderboard` makes what it packs", *lines, sep="\n  ")
        return 1
    wheel = build(HERE, options.out)
    print(f"{wheel}: {wheel.stat().st_size / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "environment"
        programs = installed(wheel, environment, options.alone)
        before = files(programs.parent)
        for command, seconds, _ in tried(programs, Path(folder) / "home"):
            print(f"glassbench {command}: {seconds:.0f} s")
        if files(programs.parent) != before:
            print("the installed files have changed")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
