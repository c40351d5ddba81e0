"""A whole board from nothing in a fresh clone of HEAD: wall time, where it goes, DVC's share, memory.

Example:
    python speed/boards.py offline                        # minutes; quick takes up to an hour
    python speed/boards.py quick --keep /work/q           # the clone stays at /work/q/main, with what it made

The clone runs its own code in this Python: ``glassbench`` is a script, first on PATH, that notes when each command
starts and ends. DVC's share is the wall time of ``dvc repro`` that lies outside of its commands; a second ``dvc repro``
is the no-op. A command's workers run side by side, so that its units (one network, one method, one experiment) sum to
more than its wall time. Memory is the largest sum of the resident sizes of all processes, sampled every second; a page
that processes share counts once (on Linux; elsewhere once for each).

The table is printed, and replaces the profile's rows of ``results/boards.csv``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmark import store
from benchmark.pipeline import provenance, unit_times
from speed import frame

COLUMNS = (
    "profile",
    "commit",
    "date",
    "cpu",
    "cores",
    "kind",
    "step",
    "what",
    "value",
    "unit",
)
SHIM = """#!/bin/sh
start=$(date +%s.%N)
"{python}" -m benchmark "$@"
code=$?
echo "$start $(date +%s.%N) $*" >> "{times}"
exit $code
"""


def main() -> None:
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("profile")
    flags.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="clone to FOLDER/main, and keep it"
    )
    flags.add_argument(
        "--out",
        type=Path,
        default=store.ROOT / "results" / "boards.csv",
        help="default: %(default)s",
    )
    flags.add_argument(
        "--units", type=int, default=10, help="how many of the longest units are listed"
    )
    options = flags.parse_args()
    with tempfile.TemporaryDirectory(prefix="glassbench-board-") as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        if (folder / "main").exists():
            sys.exit(f"{folder / 'main'} already exists; name another folder")
        rows = measure(options.profile, folder, options.units)
    write(rows, options.out)
    show(rows)
    print(f"written: {options.out}")


def measure(profile: str, folder: Path, units: int) -> pd.DataFrame:
    """The rows of one board, made in ``folder``/main."""
    clone, noted = folder / "main", folder / "times.txt"
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "-q", store.ROOT, clone], check=True)
    shared = store.ROOT.parent / "shared"
    if shared.exists() and not (folder / "shared").exists():
        (folder / "shared").symlink_to(shared.resolve())
    shim = folder / "bin" / "glassbench"
    store.write_text(shim, SHIM.format(python=sys.executable, times=noted))
    shim.chmod(0o755)
    env = environment(clone, shim)
    subprocess.run(["glassbench", "use", profile], cwd=clone, env=env, check=True)
    noted.unlink()
    wall, memory = run(["dvc", "repro"], clone, env)
    noop, _ = run(["dvc", "repro"], clone, env)
    stages = read_times(noted)
    in_commands = sum(seconds for seconds, *_ in stages)
    found = [
        ("wall", "", "", wall, "seconds"),
        ("dvc", "", "", wall - in_commands, "seconds"),
        ("no-op", "", "", noop, "seconds"),
        ("memory", "", "", memory, "GiB"),
    ]
    found += [
        ("stage", name, what, seconds, "seconds") for seconds, name, what in stages
    ]
    longest = sorted(recorded(store.Paths(profile, clone)), reverse=True)[:units]
    found += [
        ("unit", name, what, seconds, "seconds") for seconds, name, what in longest
    ]
    facts = (
        profile,
        commit_of(clone),
        time.strftime("%Y-%m-%d", time.gmtime()),
        provenance.machine()["cpu"],
        frame.cores(),
    )
    return pd.DataFrame([(*facts, *row) for row in found], columns=list(COLUMNS))


def environment(clone: Path, shim: Path) -> dict[str, str]:
    """The variables for commands in the clone, which find the shim first."""
    env = {key: value for key, value in os.environ.items() if key != "GLASSBENCH_ROOT"}
    path = [str(shim.parent), str(Path(sys.executable).parent), env["PATH"]]
    env |= {
        "PATH": os.pathsep.join(path),
        "PYTHONPATH": str(clone),
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
    }
    mirror = env.get("GLASSBENCH_MIRROR", "")
    if mirror and "://" not in mirror:
        env["GLASSBENCH_MIRROR"] = str(Path(mirror).resolve())
    return env


def read_times(noted: Path) -> list[tuple[float, str, str]]:
    """(seconds, command, data set or paper) of each command that the shim noted."""
    found = []
    for line in noted.read_text().splitlines():
        start, end, words = line.split(maxsplit=2)
        found.append((float(end) - float(start), *step(words.split())))
    return found


def commit_of(clone: Path) -> str:
    command = ["git", "-C", clone, "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()[:12]


def run(command: list[str], where: Path, env: dict[str, str]) -> tuple[float, float]:
    """(seconds, GiB) of a command and all that it starts.

    Raises:
        SystemExit: it failed.
    """
    start, most, ended = time.perf_counter(), [0.0], threading.Event()
    process = subprocess.Popen(command, cwd=where, env=env)

    def watch() -> None:
        while not ended.wait(1):
            most.append(sum(resident(process.pid)) / 2**30)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    code = process.wait()
    seconds = time.perf_counter() - start
    ended.set()
    watcher.join()
    if code:
        sys.exit(f"{' '.join(command)} failed in {where} (exit code {code})")
    return seconds, max(most)


def resident(pid: int) -> Iterator[int]:
    """Bytes of a process and of each of its descendants that still runs.

    A page that several share, such as torch's libraries, counts once in all (Linux's proportional set size; elsewhere
    once for each).
    """
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return
    for process in family:
        try:
            memory = process.memory_full_info()
            yield getattr(memory, "pss", memory.rss)
        except psutil.Error:
            continue


def step(words: list[str]) -> tuple[str, str]:
    """(command, data set or paper) of a command line."""
    argument = words[1] if len(words) > 1 else ""
    if argument.startswith("-"):
        argument = ""
    return words[0], argument


def recorded(paths: store.Paths) -> Iterator[tuple[float, str, str]]:
    """(seconds, step, unit) of each network, explanation, score and experiment (``results/<profile>/times.csv``)."""
    for (step, unit), taken in unit_times.read(paths).items():
        if step != "stage":
            yield taken.seconds, step, unit


def write(rows: pd.DataFrame, out: Path) -> None:
    """Replace the profile's earlier rows."""
    table = rows
    if out.exists():
        old = pd.read_csv(out, keep_default_na=False)
        others = old[old.profile != rows.profile[0]]
        if len(old):
            table = pd.concat([others, rows])
    values = [f"{float(value):.4g}" for value in table.value]
    table = table.assign(value=values)
    store.write_text(out, table.to_csv(index=False, lineterminator="\n"))


def show(rows: pd.DataFrame) -> None:
    """Print where the time goes."""
    whole = rows[rows.what.eq("") & rows.step.eq("")]
    one = whole.set_index("kind").value.astype(float)
    wall = one["wall"]
    print(
        f"\n{rows.profile[0]} from nothing: {wall:.0f} s of wall time on {rows.cores[0]} cores, "
        f"at most {one['memory']:.1f} GiB; DVC {one['dvc']:.1f} s ({one['dvc'] / wall:.1%}), "
        f"no-op {one['no-op']:.1f} s"
    )
    stages = rows[rows.kind == "stage"]
    stages = stages.assign(value=stages.value.astype(float))
    for name, group in stages.groupby("step", sort=False):
        seconds = group.value.sum()
        each = []
        for what, value in zip(group.what, group.value, strict=True):
            if what:
                each.append(f"{what} {value:.0f}")
        print(f"  {name:10} {seconds:8.1f} s {seconds / wall:6.1%}   {', '.join(each)}")
    print("the longest units (their own seconds; they run side by side):")
    for row in rows[rows.kind == "unit"].itertuples():
        print(f"  {row.step:10} {float(row.value):8.1f} s   {row.what}")


if __name__ == "__main__":
    main()
