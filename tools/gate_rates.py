"""How often the gate is right: simulated histories with known truth.

    python -m tools.gate_rates            # the table in docs/gate.md

A history is a pair of runs of a board of networks x methods x metrics with S seeds. A cell's value is its mean +
sigma_c times seed noise; half of the noise variance is shared by all cells of a network and seed (a bad network is bad
for all). The new run keeps the share ``kept`` (a correlation) of the old run's noise: 1 means the same networks, 0
means independent networks. sigma_c differs between the cells of a metric: sigma_c^2 = usual * 6 / chi^2(6). A
regression of k makes each value of the planted cells worse by k standard errors sigma_c / sqrt(S) of the mean of a run.
"""

from __future__ import annotations

import sys
from itertools import product

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

    def __init__(
        self, *name: object, seeds: int = 3, methods: int = 8, networks: int = 2
    ) -> None:
        self.rng = generator("gate", *name)
        self.seeds = seeds
        nets = NETWORKS[:networks]
        self.cells = [
            (*net, method, metric)
            for net, method, metric in product(nets, METHODS[:methods], METRICS)
        ]
        self.sign = np.array(
            [1 if METRICS[cell[3]] == "higher" else -1 for cell in self.cells]
        )
        # metrics have scales of their own
        usual = {metric: 0.02 * 2.0**i for i, metric in enumerate(METRICS)}
        scale = np.array([usual[cell[3]] for cell in self.cells])
        cells = len(self.cells)
        self.sigma = scale * np.sqrt(6 / self.rng.chisquare(6, cells))  # (C,)
        self.mean = 50 + self.rng.normal(size=cells)
        self.noise = self._draw()

    def _draw(self) -> np.ndarray:
        """Seed noise of variance 1, (C, S): half of it shared by the cells of a network."""
        by_net = {}
        for net in NETWORKS:
            by_net[net] = self.rng.normal(size=self.seeds)
        own = self.rng.normal(size=(len(self.cells), self.seeds))
        shared = np.array([by_net[cell[:2]] for cell in self.cells])
        return np.sqrt(0.5) * (own + shared)

    def where(self, **wanted: str) -> np.ndarray:
        """(C,) bool: the cells of these names, e.g. ``method="method b"``."""
        names = ("dataset", "target", "method", "metric")
        found = np.ones(len(self.cells), bool)
        for key, value in wanted.items():
            place = names.index(key)
            found &= [cell[place] == value for cell in self.cells]
        return found

    def old(self) -> pd.DataFrame:
        return self._rows(self.noise)

    def new(
        self,
        kept: float,
        planted: np.ndarray | None = None,
        k: float = 0.0,
        redrawn: np.ndarray | None = None,
    ) -> pd.DataFrame:
        """A new run: ``planted`` cells, (C,) bool, are worse by k standard errors.

        ``redrawn``: only these cells, (C,) bool, get new noise.
        """
        noise = kept * self.noise + np.sqrt(1 - kept**2) * self._draw()
        if redrawn is not None:
            noise = np.where(redrawn[:, None], noise, self.noise)
        if planted is None:
            return self._rows(noise)
        shift = -self.sign * k * self.sigma / np.sqrt(self.seeds) * planted  # (C,)
        return self._rows(noise, shift)

    def _rows(self, noise: np.ndarray, shift: np.ndarray | float = 0.0) -> pd.DataFrame:
        """The rows of a run whose cells are moved by ``shift`` (C,)."""
        mean = self.mean[:, None]
        sigma = self.sigma[:, None]
        shift = np.reshape(shift, (-1, 1))
        values = mean + sigma * noise + shift  # (C, S)
        return rows(self.cells, values)


def rows(
    cells: list[tuple], values: np.ndarray, profile: str = "offline"
) -> pd.DataFrame:
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


def elsewhere(seeds: int) -> pd.DataFrame | None:
    """Rows of another profile with three seeds: what says how much a metric scatters where there is one seed."""
    return None if seeds > 1 else History("elsewhere").old()


def false_alarms(
    kept: float, times: int, *, mixed: bool = False, **board: int
) -> float:
    """The share of runs with a regression where there is none. ``mixed``: only three methods get new noise."""
    alarms = 0
    for i in range(times):
        history = History("null", kept, mixed, i, **board)
        redrawn = None
        if mixed:
            redrawn = np.isin([cell[2] for cell in history.cells], METHODS[:3])
        new = history.new(kept, redrawn=redrawn)
        kinds = compare(history.old(), new, elsewhere(history.seeds))["kind"]
        alarms += (kinds == "regression").any()
    return alarms / times


def hits(
    kept: float, k: float, what: str, times: int, **board: int
) -> tuple[float, float]:
    """How often a planted regression of k standard errors is found.

    Args:
        what: where it is planted: in one ``cell``, in a method on one ``network``, or in a ``method`` everywhere.

    Returns:
        the share of runs with a regression among the planted cells, the share of planted cells found.
    """
    wanted = {
        "cell": {"dataset": "digits", "method": "method b", "metric": "metric 3"},
        "network": {"dataset": "digits", "method": "method b"},
        "method": {"method": "method b"},
    }[what]
    runs, cells = [], []
    for i in range(times):
        history = History("planted", kept, k, what, i, **board)
        planted = history.where(**wanted)
        new = history.new(kept, planted, k)
        found = compare(history.old(), new, elsewhere(history.seeds))
        found = found[found["method"] == "method b"]
        kinds = found.set_index(["dataset", "target", "method", "metric"])["kind"]
        caught = [
            kinds[history.cells[c]] == "regression" for c in np.flatnonzero(planted)
        ]
        runs.append(any(caught))
        cells.append(np.mean(caught))
    return float(np.mean(runs)), float(np.mean(cells))


def main(times: int = 200) -> None:
    """Print the rates of false alarms and of regressions found, from so many histories each."""
    for seeds in (1, 3, 5):
        for kept in (1.0, 0.99, 0.9, 0.7, 0.0):
            alarm = false_alarms(kept, times, seeds=seeds)
            caught = []
            for what, k in product(("cell", "network", "method"), (2, 4, 6)):
                runs, cells = hits(kept, k, what, times // 2, seeds=seeds)
                caught.append(f"{what} {k:g}: {runs:.2f}/{cells:.2f}")
            print(
                f"S={seeds} kept={kept}: false {alarm:.3f}; {', '.join(caught)}",
                flush=True,
            )
        alarm = false_alarms(0.0, times, mixed=True, seeds=seeds)
        print(f"S={seeds} mixed: false {alarm:.3f}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
