"""TODO."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from benchmark import store
from benchmark.pipeline.cells import made

if TYPE_CHECKING:
    from benchmark.pipeline.profile import Profile


def profile_rows(profile: Profile) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(rows, instances): all rows of a profile, and the values of single images that they are means of."""
    paths = [
        path
        for dataset in profile.datasets
        for path in sorted(made(profile).scores(dataset).rglob("*.npz"))
    ]
    if not paths:
        raise store.StoreError(
            f"profile {profile.name!r} has no scores; run `dvc repro`"
        )
    return rows_of(paths)


def rows_of(paths: Iterable[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(rows, instances) of files of scores."""
    frames, instances = (
        [pd.DataFrame(columns=list(store.ROW_COLUMNS))],
        [pd.DataFrame(columns=[*store.ROW_KEYS, "image", "value"])],
    )
    for path in paths:
        rows, values, ids = store.read_scores(path)
        frames.append(rows)
        for row, value in zip(rows.to_dict("records"), values, strict=True):
            if len(value):
                instances.append(
                    pd.DataFrame(
                        {k: row[k] for k in store.ROW_KEYS}
                        | {"image": ids, "value": value}
                    )
                )
    rows, instances = (
        pd.concat(part[min(1, len(part) - 1) :], ignore_index=True)
        for part in (frames, instances)
    )
    return store.tidy_rows(rows), instances
