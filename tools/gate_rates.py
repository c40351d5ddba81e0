"""How often the gate is right: simulated histories with known truth.

    python -m tools.gate_rates            # the tables in gate.py's docstring and in docs/gate.md

A history is a pair of runs of a board of networks x methods x metrics, S seeds. A cell's value is its mean + sigma_c times
seed noise; half of the noise variance is shared by all cells of a network and seed (a bad network is bad for all). Of
the old run's noise the new run keeps the share ``kept`` (as a correlation): 1 is the same networks, 0 other networks
altogether. sigma_c differs between the cells of a metric: sigma_c^2 = usual * 6 / chi^2(6). A regression of k makes each value
of the planted cells worse by k standard errors sigma_c / sqrt(S) of the mean of a run.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from benchmark import store
from benchmark.gate.diff import compare
from benchmark.utils.seeds import generator

METHODS = tuple(f"method {letter}" for letter in "abcdefgh")
METRICS = {f"metric {i}": better for i, better in enumerate(["higher", "lower"] * 6)}
NETWORKS = (("digits", "cnn"), ("toybirds", "cnn"))


class History:
    """An old run, and new runs of the same board."""

    def __init__(self, *name: object, seeds: int = 3, methods: int = 8, networks: int = 2) -> None:
        self.rng = generator("gate", *name)
        self.cells = [
            (*net, method, metric)
            for net in NETWORKS[:networks]
            for method in METHODS[:methods]
            for metric in METRICS
        ]
        self.sign = np.array([1 if METRICS[cell[3]] == "higher" else -1 for cell in self.cells])
        usual = {
            metric: 0.02 * 2.0**i for i, metric in enumerate(METRICS)
        }  # metrics have scales of their own
        c, self.seeds = len(self.cells), seeds
        self.sigma = np.array([usual[cell[3]] for cell in self.cells]) * np.sqrt(
            6 / self.rng.chisquare(6, c)
        )  # (C,)
        self.mean = 50 + self.rng.normal(size=c)
        self.noise = self._draw()

    def _draw(self) -> np.ndarray:
        """Seed noise of variance 1, (C, S): half of it shared by the cells of a network."""
        shared = {net: self.rng.normal(size=self.seeds) for net in NETWORKS}
        own = self.rng.normal(size=(len(self.cells), self.seeds))
        return np.sqrt(0.5) * (own + np.array([shared[cell[:2]] for cell in self.cells]))

    def where(self, **wanted: str) -> np.ndarray:
        names = ("dataset", "target", "method", "metric")
        return np.array(
            [all(cell[names.index(k)] == v for k, v in wanted.items()) for cell in self.cells]
        )

    def old(self) -> pd.DataFrame:
        return self._rows(self.noise)

    def new(
        self,
        kept: float,
        planted: np.ndarray | None = None,
        k: float = 0.0,
        redrawn: np.ndarray | None = None,
    ) -> pd.DataFrame:
        """A new run: ``planted`` cells, (C,) bool, are worse by k standard errors; ``redrawn``: only these are drawn anew."""
        noise = kept * self.noise + np.sqrt(1 - kept**2) * self._draw()
        if redrawn is not None:
            noise = np.where(redrawn[:, None], noise, self.noise)
        shift = (
            0.0 if planted is None else -self.sign * k * self.sigma / np.sqrt(self.seeds) * planted
        )
        return self._rows(noise, shift)

    def _rows(self, noise: np.ndarray, shift: np.ndarray | float = 0.0) -> pd.DataFrame:
        values = (
            self.mean[:, None] + self.sigma[:, None] * noise + np.reshape(shift, (-1, 1))
        )  # (C, S)
        return rows(self.cells, values)


def rows(cells: list[tuple], values: np.ndarray, profile: str = "offline") -> pd.DataFrame:
    """Rows of cells (dataset, target, method, metric) with values (C, S)."""
    c, s = values.shape
    names = np.repeat(np.array(cells, dtype=object), s, axis=0)
    return pd.DataFrame(
        {
            "profile": profile,
            "track": "heatmap",
            "paper": "baseline",
            "dataset": names[:, 0],
            "target": names[:, 1],
            "method": names[:, 2],
            "setting": "",
            "metric": names[:, 3],
            "metric_setting": "",
            "seed": np.tile(np.arange(s), c),
            "value": values.ravel(),
            "n": 64,
            "better": [METRICS.get(m, "higher") for m in names[:, 3]],
            "unit": "percent",
            "metric_version": 1,
            "status": "ok",
            "reason": "",
        }
    )[list(store.ROW_COLUMNS)]


def false_alarms(kept: float, times: int, *, mixed: bool = False, **board: int) -> float:
    """The share of runs with a regression where there is none. ``mixed``: only three methods are drawn anew."""
    alarms = 0
    for i in range(times):
        history = History("null", kept, mixed, i, **board)
        redrawn = np.isin([cell[2] for cell in history.cells], METHODS[:3]) if mixed else None
        alarms += (
            compare(history.old(), history.new(kept, redrawn=redrawn))["kind"] == "regression"
        ).any()
    return alarms / times


def hits(kept: float, k: float, what: str, times: int, **board: int) -> tuple[float, float]:
    """A regression of k standard errors in one cell, in a method on one network, or in a method everywhere: (the share of
    runs with a regression among the planted cells, the share of planted cells found)."""
    wanted = {
        "cell": {"dataset": "digits", "method": "method b", "metric": "metric 3"},
        "network": {"dataset": "digits", "method": "method b"},
        "method": {"method": "method b"},
    }[what]
    runs, cells = [], []
    for i in range(times):
        history = History("planted", kept, k, what, i, **board)
        planted = history.where(**wanted)
        found = compare(history.old(), history.new(kept, planted, k))
        found = found[found["method"] == "method b"].set_index(
            ["dataset", "target", "method", "metric"]
        )["kind"]
        caught = [found[history.cells[c]] == "regression" for c in np.flatnonzero(planted)]
        runs.append(any(caught))
        cells.append(np.mean(caught))
    return float(np.mean(runs)), float(np.mean(cells))


def main(times: int = 200) -> None:
    for seeds in (3, 5):
        for kept in (1.0, 0.99, 0.9, 0.7, 0.0):
            alarm = false_alarms(kept, times, seeds=seeds)
            caught = {
                f"{what} {k:g}": hits(kept, k, what, times // 2, seeds=seeds)
                for what in ("cell", "network", "method")
                for k in (2, 4, 6)
            }
            print(
                f"S={seeds} kept={kept}: false {alarm:.3f}; "
                + ", ".join(f"{w}: {a:.2f}/{b:.2f}" for w, (a, b) in caught.items()),
                flush=True,
            )
        print(
            f"S={seeds} mixed: false {false_alarms(0.0, times, mixed=True, seeds=seeds):.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
