"""Rows of version 1, which ``store`` turns into today's as it reads them.

In version 1 one column ``setting`` held the settings of the method and of the metric, merged and sorted by key; there was no
``metric_setting``, and ``seconds`` stood beside the values. No program writes version 1 any more, so the keys that were a
metric's own are known for good: ``METRICS_OWN``. In the tracks ``target`` and ``replication`` no metric had any.

A method with a setting of such a name (``keep``) lost its value to that of the metric, so its rows cannot be told apart:
they are refused.
"""

from __future__ import annotations

import pandas as pd

METRICS_OWN = {
    "average_drop": "keep",
    "average_increase": "keep",
    "accuracy_top_pixels": "pixels",
    "insertion_auc": "steps",
    "deletion_auc": "steps",
    "patch_correlation": "grid",
    "pointing_game": "tolerance",
    "energy_on_parts": "radius",
    "energy_on_class_parts": "radius",
    "part_ranking": "radius",
    "locality": "cells",
    "concepts_on_class_parts": "radius",
    "reconstruction_loss": "scale",
    "delta_reconstruction": "scale",
}
_NAMES = frozenset(METRICS_OWN.values())
_FACTS = ("target", "replication")  # tracks without settings of metrics


def current(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows, or the keys of rows, in today's columns; those that have a ``metric_setting`` are returned as they are.

    Raises:
        ValueError: a method has a setting that is called like a metric's.
    """
    if "metric_setting" in rows or "setting" not in rows:
        return rows
    halves = [
        _halves(*key)
        for key in zip(rows["track"], rows["method"], rows["metric"], rows["setting"], strict=True)
    ]
    settings = pd.DataFrame(halves, columns=["setting", "metric_setting"], index=rows.index)
    return rows.drop(columns="seconds", errors="ignore").assign(**settings)


def _halves(track: str, method: str, metric: str, setting: str) -> tuple[str, str]:
    """(the method's, the metric's) part of a setting."""
    if track in _FACTS:
        return setting, ""
    pieces = setting.split(";")
    ours = [piece for piece in pieces if piece.partition("=")[0] == METRICS_OWN.get(metric)]
    rest = [piece for piece in pieces if piece not in ours]
    if clash := next((key for piece in rest if (key := piece.partition("=")[0]) in _NAMES), None):
        raise ValueError(
            f"in rows of version 1 the setting {clash!r} of {method!r} cannot be told from a metric's; make them again"
        )
    return ";".join(rest), ";".join(ours)


def current_board(frame: pd.DataFrame) -> pd.DataFrame:
    """The board of a ``leaderboard.csv``, in which version 1 called the metric's setting ``setting`` and the method's
    ``method_setting``."""
    if "method_setting" not in frame:
        return frame
    return frame.rename(columns={"setting": "metric_setting", "method_setting": "setting"})
