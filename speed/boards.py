"""A whole board from nothing in a fresh clone of HEAD: wall time, where it goes, DVC's share, memory.

Example:
    python speed/boards.py offline                        # minutes; quick takes up to an hour
    python speed/boards.py quick --keep /work/q           # the clone stays at /work/q/main, with what it made

The clone runs its own code in this Python: ``glassbench`` is a script, first on PATH, that notes when each command starts and
ends. DVC's share is the wall time of ``dvc repro`` that lies outside of its commands; a second ``dvc repro`` is the no-op. A
command's workers run side by side, so that its units (one network, one method, one experiment) sum to more than its wall
time. Memory is the largest sum of resident sizes of all processes, sampled; pages that workers share are counted for each.
The table is printed and replaces the profile's rows of ``results/boards.csv``.
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

COLUMNS = ("profile", "commit", "date", "cpu", "cores", "kind", "step", "what", "value", "unit")
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
        "--keep", type=Path, metavar="FOLDER", help="clone to FOLDER/main, and leave it"
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
            sys.exit(f"{folder / 'main'} is there already; name another folder")
        rows = measure(options.profile, folder, options.units)
    write(rows, options.out)
    show(rows)
    print(f"written: {options.out}")


def measure(profile: str, folder: Path, units: int) -> pd.DataFrame:
    """The rows of one board, made in ``folder``/main."""
    clone, noted = folder / "main", folder / "times.txt"
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "-q", store.ROOT, clone], check=True)
    if (shared := store.ROOT.parent / "shared").exists() and not (folder / "shared").exists():
        (folder / "shared").symlink_to(shared.resolve())
    shim = folder / "bin" / "glassbench"
    store.write_text(shim, SHIM.format(python=sys.executable, times=noted))
    shim.chmod(0o755)
    env = {key: value for key, value in os.environ.items() if key != "GLASSBENCH_ROOT"} | {
        "PATH": os.pathsep.join(
            [str(shim.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
        "PYTHONPATH": str(clone),
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
    }
    if mirror := env.get("GLASSBENCH_MIRROR"):
        env["GLASSBENCH_MIRROR"] = mirror if "://" in mirror else str(Path(mirror).resolve())
    subprocess.run(["glassbench", "use", profile], cwd=clone, env=env, check=True)
    noted.unlink()
    wall, memory = run(["dvc", "repro"], clone, env)
    noop, _ = run(["dvc", "repro"], clone, env)
    stages = [
        (float(end) - float(start), *step(words.split()))
        for start, end, words in (line.split(maxsplit=2) for line in noted.read_text().splitlines())
    ]
    found = [
        ("wall", "", "", wall, "seconds"),
        ("dvc", "", "", wall - sum(s for s, *_ in stages), "seconds"),
        ("no-op", "", "", noop, "seconds"),
        ("memory", "", "", memory, "GiB"),
    ]
    found += [("stage", name, what, seconds, "seconds") for seconds, name, what in stages]
    found += [
        ("unit", name, what, seconds, "seconds")
        for seconds, name, what in sorted(recorded(store.Paths(profile, clone)), reverse=True)[
            :units
        ]
    ]
    commit = subprocess.run(
        ["git", "-C", clone, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    facts = (
        profile,
        commit.stdout.strip()[:12],
        time.strftime("%Y-%m-%d", time.gmtime()),
        provenance.machine()["cpu"],
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    )
    return pd.DataFrame([(*facts, *row) for row in found], columns=list(COLUMNS))


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
    """Bytes of a process and of each below it, as far as they still run. A page that several share, such as torch's
    libraries, counts once in all (Linux's proportional set size; elsewhere once for each)."""
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
    return words[0], words[1] if len(words) > 1 and not words[1].startswith("-") else ""


def recorded(paths: store.Paths) -> Iterator[tuple[float, str, str]]:
    """(seconds, step, unit) of each network, explanation, score and experiment (``results/<profile>/times.csv``)."""
    for (step, unit), taken in unit_times.read(paths).items():
        if step != "stage":
            yield taken.seconds, step, unit


def write(rows: pd.DataFrame, out: Path) -> None:
    """Put the rows in the place of the profile's earlier ones."""
    others = pd.read_csv(out, keep_default_na=False) if out.exists() else rows[:0]
    frame = pd.concat([others[others.profile != rows.profile[0]], rows]) if len(others) else rows
    frame = frame.assign(value=[f"{float(v):.4g}" for v in frame.value])
    store.write_text(out, frame.to_csv(index=False, lineterminator="\n"))


def show(rows: pd.DataFrame) -> None:
    """The table of where the time goes."""
    one = rows[rows.what.eq("") & rows.step.eq("")].set_index("kind").value.astype(float)
    wall = one["wall"]
    print(
        f"\n{rows.profile[0]} from nothing: {wall:.0f} s of wall time on {rows.cores[0]} cores, at most {one['memory']:.1f} GiB; "
        f"DVC {one['dvc']:.1f} s ({one['dvc'] / wall:.1%}), no-op {one['no-op']:.1f} s"
    )
    stages = rows[rows.kind == "stage"].assign(value=lambda f: f.value.astype(float))
    for name, group in stages.groupby("step", sort=False):
        print(
            f"  {name:10} {group.value.sum():8.1f} s {group.value.sum() / wall:6.1%}   "
            + ", ".join(
                f"{what} {value:.0f}"
                for what, value in zip(group.what, group.value, strict=True)
                if what
            )
        )
    print("the longest units (seconds of their own, side by side with others):")
    for row in rows[rows.kind == "unit"].itertuples():
        print(f"  {row.step:10} {float(row.value):8.1f} s   {row.what}")


if __name__ == "__main__":
    main()
