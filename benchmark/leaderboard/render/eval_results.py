"""A board for a model hub: a benchmark's ``eval.yaml``, and of each method the results that its repository holds.

Use:
    texts(frame, "OWNER/NAME", profile="offline", date="2026-01-31")
    # eval.yaml                               into the data set's repository OWNER/NAME
    # Grad-CAM/.eval_results/glassbench.yaml  into the repository of the method or of the network that uses it

Every table of the board is a task, named by track, data set, network, metric and setting. A value without an entry
failed or does not apply. Numbers have seven significant digits; the hub knows neither direction nor interval, so the
notes say them.

Reference: https://huggingface.co/docs/hub/eval-results; the older ``model-index`` of a model card is not written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd
import yaml

from benchmark import store
from benchmark.leaderboard import stats, tables
from benchmark.leaderboard.contests import UNRANKED

FRAMEWORK = "glassbench"
DESCRIPTION = (
    "Methods that explain what happens inside neural networks, on the same networks and images, judged by the same "
    "metrics. A task is a metric on a network."
)


def texts(
    frame: pd.DataFrame, benchmark: str, *, profile: str, date: str = ""
) -> dict[str, str]:
    """The files by their path.

    Args:
        frame: the board (``tables.leaderboard``).
        benchmark: the hub's data set, OWNER/NAME, that the tasks belong to.
        date: of the results, ISO 8601.
    """
    ranked = frame[~frame["track"].isin(UNRANKED)]
    applies = ranked["status"] != "not applicable"
    ranked = ranked.assign(task=list(map(task_id, ranked.itertuples())))[applies]
    ok = ranked[ranked["status"] == "ok"]
    files = {"eval.yaml": _yaml(_benchmark(ranked, profile))}
    sizes = ok.groupby("task").size()
    for label, lines in ok.groupby("label"):
        entries = [
            _entry(line, benchmark, date, int(sizes[line.task]))
            for line in lines.itertuples()
        ]
        files[f"{_slug(label)}/.eval_results/{FRAMEWORK}.yaml"] = _yaml(entries)
    return files


def task_id(line: Any) -> str:
    """``heatmap-digits-cnn-average_drop-keep_0.2``."""
    return "-".join(
        map(_slug, filter(None, (getattr(line, key) for key in tables.TABLE)))
    )


def _slug(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", text).strip("_")


def _benchmark(ranked: pd.DataFrame, profile: str) -> dict[str, Any]:
    """``eval.yaml``: a task per table, in the order of the board."""
    first = ranked.drop_duplicates("task")
    return {
        "name": f"glassbench, profile {profile}",
        "description": DESCRIPTION,
        "evaluation_framework": FRAMEWORK,
        "tasks": [
            {"id": line.task, "config": line.dataset, "split": "test"}
            for line in first.itertuples()
        ],
    }


def _entry(line: Any, benchmark: str, date: str, methods: int) -> dict[str, Any]:
    """A method's mean in one table."""
    low, high = map(store.format_value, (line.low, line.high))
    notes = [
        f"{line.better} is better",
        line.unit,
        f"{stats.LEVEL:.0%} interval {low} to {high}" if low else "",
        tables.plural(line.n_seeds, "seed"),
        f"up to {tables.plural(line.n_images, 'image')}",
        f"rank {line.rank:g} of {methods}" if pd.notna(line.rank) else "",
    ]
    entry = {
        "dataset": {"id": benchmark, "task_id": line.task},
        "value": float(store.format_value(line.mean)),
        "evaluation_framework": FRAMEWORK,
        "notes": "; ".join(filter(None, notes)),
    }
    return entry | ({"date": date} if date else {})


def _yaml(content: dict[str, Any] | Iterable[dict[str, Any]]) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
