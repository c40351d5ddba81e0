"""Rows of version 1, which ``store`` converts to the current version as it reads them.

In version 1 one column ``setting`` held the settings of both method and metric, merged and sorted by key. There was
no ``metric_setting``, and ``seconds`` was a column. Version 1 is no longer written, so the settings that metrics had
then are fixed: ``METRICS_OWN``. In the tracks ``target`` and ``replication`` no metric had any.

If a method had a setting of the same name (``keep``), its value was overwritten by that of the metric. The rows of such
a method cannot be told apart and are refused.
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
    """Rows, or the keys of rows, in the current columns; those that have a ``metric_setting`` are returned unchanged.

    Raises:
        ValueError: a method has a setting with the name of a metric's.
    """
    if "metric_setting" in rows or "setting" not in rows:
        return rows
    keys = zip(
        rows["track"], rows["method"], rows["metric"], rows["setting"], strict=True
    )
    halves = [_halves(*key) for key in keys]
    settings = pd.DataFrame(
        halves, columns=["setting", "metric_setting"], index=rows.index
    )
    return rows.drop(columns="seconds", errors="ignore").assign(**settings)


def _halves(track: str, method: str, metric: str, setting: str) -> tuple[str, str]:
    """The method's part of a setting, and the metric's."""
    if track in _FACTS:
        return setting, ""
    own = METRICS_OWN.get(metric)
    pieces = setting.split(";")
    metrics_part = [piece for piece in pieces if _key(piece) == own]
    methods_part = [piece for piece in pieces if piece not in metrics_part]
    for piece in methods_part:
        if _key(piece) in _NAMES:
            raise ValueError(
                f"in rows of version 1 the setting {_key(piece)!r} of {method!r} cannot be told from a metric's; "
                "recompute them"
            )
    return ";".join(methods_part), ";".join(metrics_part)


def _key(piece: str) -> str:
    return piece.partition("=")[0]


def current_board(frame: pd.DataFrame) -> pd.DataFrame:
    """The board of a ``leaderboard.csv`` in the current columns.

    Version 1 called the metric's setting ``setting`` and the method's ``method_setting``.
    """
    if "method_setting" not in frame:
        return frame
    return frame.rename(
        columns={"setting": "metric_setting", "method_setting": "setting"}
    )
