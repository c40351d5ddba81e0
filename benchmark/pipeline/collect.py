"""Gathers the rows of a profile, and the values per image behind them, from its files of scores."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmark import store
from benchmark.pipeline.cells import made

if TYPE_CHECKING:
    from benchmark.pipeline.profile import Profile


def profile_rows(profile: Profile) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All rows of a profile, and the values per image that they are means of.

    Raises:
        StoreError: there are none yet.
    """
    paths = []
    for dataset in profile.datasets:
        paths += sorted(made(profile).scores(dataset).rglob("*.npz"))
    if not paths:
        raise store.StoreError(
            f"profile {profile.name!r} has no scores; run `dvc repro`"
        )
    return rows_of(paths)


def rows_of(paths: Iterable[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of files of scores, and the values per image: columns ROW_KEYS, image, value."""
    rows, values, images = store.read_all_scores(paths)
    lengths = [len(of_row) for of_row in values]
    row_of_value = np.repeat(np.arange(len(rows)), lengths)
    keys = rows[list(store.ROW_KEYS)]
    instances = keys.take(row_of_value).reset_index(drop=True)
    if values:
        instances["image"] = np.concatenate(images)
        instances["value"] = np.concatenate(values)
    else:
        instances = instances.assign(image=[], value=[])
    return store.tidy_rows(rows), instances
