"""This build against an earlier one: what ``growth`` measures, in turns.

Example:
    python speed/builds.py                      # against f61b4cf, in about two minutes
    python speed/builds.py --against v1.0

Each build computes in a process of its own, from a checkout of its own, with its own ``growth.py``; one waits while
the other computes. Seconds are CPU-seconds on one thread; the first turn, which compiles, is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmark import store
from speed import frame
from speed.frame import Row

EARLIER = "f61b4cf"  # the build that the goals are relative to


@dataclass(frozen=True)
class Case:
    """What is timed: a function of ``growth`` that prepares the work, and its arguments."""

    name: str
    size: str
    function: str
    arguments: tuple[str | int, ...]
    small: tuple[str | int, ...]
    goal: float | None = None
    bound: str = ""


CASES = (
    Case(
        name="RI at references",
        size="4,000 references",
        function="interpretations",
        arguments=("reference", 4000),
        small=("reference", 300),
        goal=3.0,
        bound="k-means",
    ),
    Case(
        name="RI at the boundary",
        size="4,000 references",
        function="interpretations",
        arguments=("boundary", 4000),
        small=("boundary", 300),
    ),
    Case("A board", "32 methods, 3 seeds", "board", (32, 3), (2, 2), goal=3.0),
    Case("A board", "8 methods, 16 seeds", "board", (8, 16), (2, 2), goal=3.0),
    Case("Diff of two boards", "32 methods", "two_boards", (32,), (2,)),
    Case("ExplaiNN's miner", "40,000 samples", "miner", (100, 40_000), (4, 500)),
    Case("Unique encodings", "80,000 samples", "encodings", (80_000,), (500,)),
)
PROGRAM = """
import importlib, json, sys, time
from pathlib import Path
folder = "speed" if Path("speed").is_dir() else "benchmarks"  # its name in earlier builds
growth = importlib.import_module(folder + ".growth")
works = {}
for line in sys.stdin:
    if line not in works:
        function, arguments = json.loads(line)
        works[line] = getattr(growth, function)(*arguments)
    start = time.process_time()
    works[line]()
    print(time.process_time() - start, flush=True)
"""


class Build:
    """The code in a folder, in a process that waits for what to time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        own = {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd=folder,
            env=os.environ | own,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, case: Case, small: bool) -> float:
        """CPU-seconds of a case.

        Raises:
            SystemExit: this build cannot run it.
        """
        arguments = case.small if small else case.arguments
        print(json.dumps([case.function, arguments]), file=self.process.stdin)
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.folder} cannot run growth.{case.function}{arguments}")
        return float(answer)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def check_out(root: Path, commit: str, folder: Path) -> None:
    """The files of a commit, in an empty folder.

    Raises:
        SystemExit: the repository does not have it.
    """
    archive = folder.parent / "build.tar"
    command = ["git", "-C", root, "archive", "--output", archive, commit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        why = " ".join(done.stderr.split())
        sys.exit(
            f"{commit} is not in {root} ({why}); get it by `git fetch --unshallow`"
        )
    folder.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)


def rows(
    small: bool = False, against: str = EARLIER, root: Path = store.ROOT, n: int = 5
) -> Iterator[Row]:
    """A row for each case: seconds of the build at ``against`` / seconds of the code in ``root``."""
    n = 1 if small else frame.at_most(n)
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="glassbench-"))
        earlier = Path(place) / "earlier"
        check_out(root, against, earlier)
        builds = [Build(folder) for folder in (root, earlier)]
        for build in builds:
            stack.callback(build.close)
        for case in CASES:
            taken = [
                [build.seconds(case, small) for build in builds] for _ in range(n + 1)
            ]
            ours, theirs = np.array(taken[1:]).T
            yield Row(
                name=case.name,
                peer=f"the build at {against}",
                size="smallest" if small else case.size,
                **frame.quartiles(theirs / ours),
                goal=case.goal,
                bound=case.bound,
                n=n,
                seconds=float(np.median(ours)),
            )


def main() -> None:
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument(
        "--against", default=EARLIER, metavar="COMMIT", help="default: %(default)s"
    )
    flags.add_argument(
        "--small", action="store_true", help="the smallest sizes: does it run?"
    )
    options = flags.parse_args()
    for row in rows(options.small, options.against):
        print(frame.line(row), flush=True)
    print(f"\nCPU-seconds, medians [quartiles]. {frame.machine()}")


if __name__ == "__main__":
    main()
