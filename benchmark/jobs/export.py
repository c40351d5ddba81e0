"""Results and data sets in the formats of others, from what is there: nothing is computed.

    write(boards(Path("results/offline"), "latex"), Path("out"))

The formats are csv and latex, a file per board, as the buttons of its page make it; eval-results, of a model hub
(``leaderboard.render.eval_results``); croissant, the prepared data sets (``data.croissant``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from benchmark import store
from benchmark.leaderboard import places, tables
from benchmark.utils.errors import UsageError


def boards(results: Path, form: str) -> dict[str, str]:
    """The files of ``csv`` or ``latex`` by name.

    Args:
        results: a folder with ``leaderboard.csv`` and ``places.csv``.

    Raises:
        StoreError: one of them is missing or damaged.
    """
    from benchmark.leaderboard.render import exports
    from benchmark.pipeline.words import glossary

    ending = {"csv": ".csv", "latex": ".tex"}[form]
    frame = tables.read(results / "leaderboard.csv")
    placed = places.read(results / "places.csv")
    made = exports.exports(frame, placed, glossary())
    return {name: text for name, text in made if name.endswith(ending)}


def eval_results(results: Path, benchmark: str, profile: str) -> dict[str, str]:
    """The files of ``eval-results`` by path.

    Raises:
        UsageError: ``benchmark`` is not OWNER/NAME.
        StoreError: the board is missing or damaged.
    """
    from benchmark.leaderboard.render.eval_results import texts

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", benchmark):
        given = f"{benchmark!r} is none" if benchmark else "it is missing"
        raise UsageError(
            "--format eval-results needs --benchmark OWNER/NAME, the hub's data set that the results belong to: "
            f"{given}"
        )
    frame = tables.read(results / "leaderboard.csv")
    date = store.read_json(results / "provenance.json").get("made", {}).get("date", "")
    return texts(frame, benchmark, profile=profile, date=date)


def write(files: Mapping[str, str], out: Path) -> Path:
    """Write texts by their path below ``out``."""
    for name, text in files.items():
        store.write_text(out / name, text)
    return out


def croissant(datasets: Mapping[str, Path], out: Path) -> Path:
    """Write the prepared data sets (npz) as Croissant, each into a folder of its own.

    Raises:
        StoreError: one is not prepared; nothing is written then.
    """
    from benchmark import data
    from benchmark.data import croissant

    for path in datasets.values():
        data.load_card(path)
    for name, path in datasets.items():
        croissant.write(data.load(path), out / name)
    return out
