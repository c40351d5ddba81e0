"""Every published number beside the measurement nearest to its scale, over all profiles with results.

Idea: a profile measures what its time allows. A number that several profiles measured is taken from the one that is
nearest to the paper, as ``order`` says: on the paper's data set and network before on another network of the same data
set; then from more training images, a wider network, more epochs of training, more seeds. No profile goes beyond a
paper in any of them, so more is nearer. Verdict, interval and scale are that profile's own.

Use:
    found = nearest(read(Path("results")))       # results/reproduction.csv, by `glassbench readme`
    counts(found)                                # by paper
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from benchmark import store
from benchmark.leaderboard import joining, reproduction
from benchmark.leaderboard.reproduction import OTHER, SAME

COLUMNS = [*reproduction.COLUMNS[:8], "profile", *reproduction.COLUMNS[8:12]]
COUNTS = {"agree": "holds", "differ": "does not hold", "undecided": "undecided"}
NEAREST = (
    "Of several profiles that measured a number the one nearest to the paper is shown: the paper's network before "
    "another one on the same data set; then more training images, a wider network, more epochs, more seeds."
)
_NO_PROFILE = {  # why a number is in no profile, by why it is not in one
    joining.NOT_RUN["data"]: "its data set is in no profile here",
    joining.NOT_RUN["network"]: "its network is in no profile here",
    joining.NOT_RUN["experiment"]: "its experiment is in no profile here",
}


def read(results: Path) -> dict[str, pd.DataFrame]:
    """``reproduction.csv`` of every profile in ``results``, by profile.

    Raises:
        StoreError: one was written by another version.
    """
    tables = {}
    for path in sorted(results.glob("*/reproduction.csv")):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if list(table.columns) != reproduction.COLUMNS:
            raise store.StoreError(
                f"{path} was written by another version; run `glassbench report` on its profile"
            )
        tables[path.parent.name] = table
    return tables


def nearest(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """COLUMNS, text: a line for each published number, in the order of the files.

    Args:
        tables: ``reproduction.table`` by profile, as ``read`` gives them.
    """
    by_number: dict[str, list[dict[str, str]]] = {}
    for profile, table in tables.items():
        numbers = table[~reproduction.is_claim(table)]
        for line in numbers.to_dict("records"):
            line["profile"] = profile
            by_number.setdefault(line["id"], []).append(line)
    found = [_nearest(lines) for lines in by_number.values()]
    return pd.DataFrame(found, columns=COLUMNS)


def _nearest(lines: list[dict[str, str]]) -> dict[str, str]:
    """Of the lines of one number in all profiles."""
    measured = [line for line in lines if line["measured"]]
    if measured:
        return max(measured, key=order)
    why = lines[0]["why"]
    reasons = {line["why"] for line in lines}
    for reason, in_none in _NO_PROFILE.items():  # the profile that lacks least
        if reason in reasons:
            why = in_none
    return lines[0] | {"why": why, "profile": ""}


def order(line: Mapping[str, str]) -> tuple[float, ...]:
    """The larger, the nearer to the paper's scale."""
    same = line["network"] == SAME
    scale = [float(same)]
    for key in ("train_images", "width", "epochs", "n_seeds"):
        scale.append(float(line[key] or 0))
    return tuple(scale)


def agrees(results: Path, found: pd.DataFrame) -> bool:
    """Whether ``results/reproduction.csv`` has the profiles and verdicts of ``found``; last digits differ between
    machines.
    """
    path = results / "reproduction.csv"
    if not path.exists():
        return False
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    columns = ["id", "profile", "verdict"]
    return table.reindex(columns=columns).equals(found[columns])


def counts(found: pd.DataFrame) -> pd.DataFrame:
    """By paper, and in all: numbers, measured, agree, differ, undecided, not run, and the measured ones that are on
    another network.
    """
    lines = [_counted(*item) for item in found.groupby("paper", sort=False)]
    return pd.DataFrame([*lines, _counted("all", found)])


def _counted(paper: str, found: pd.DataFrame) -> dict[str, str | int]:
    measured = found["measured"] != ""
    times = found["verdict"].value_counts()
    networks = found["network"].value_counts()
    line: dict[str, str | int] = {
        "paper": paper,
        "numbers": len(found),
        "measured": int(measured.sum()),
    }
    for word, verdict in COUNTS.items():
        line[word] = int(times.get(verdict, 0))
    line["not run"] = len(found) - line["measured"]
    line["on another network"] = int(networks.get(OTHER, 0))
    return line


def sentences(found: pd.DataFrame) -> Iterator[str]:
    """The counts in words."""
    line = _counted("all", found)
    yield (
        f"Of {line['numbers']} published numbers {line['measured']} are measured: {line['agree']} agree, "
        f"{line['differ']} differ, {line['undecided']} are undecided (the interval allows both)."
    )
    if line["on another network"]:
        yield (
            f"{line['on another network']} of them are measured on another network than the paper's."
        )
