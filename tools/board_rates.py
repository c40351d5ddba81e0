"""How often the board is right: simulated tables with known truth, judged by the functions that the board uses.

    python -m tools.board_rates            # the tables in docs/statistics.md

The value of method m on network s and image n is mu_m + a_ms + b_mn + e_msn, plus effects of the network and of the
image that all methods share and that differences therefore lose. ``COMPONENTS`` are the variances of a, b and e.
``offline`` takes those of a table of the committed ``offline`` board, drawn anew for each simulated table. There,
methods differ in how much networks matter to them: each has a network variance from the distribution that was fitted
to the table's own (Smyth 2004), which are estimates from three networks and differ more than the true ones.

Kinds of values: ``normal``; ``zero-one``, 1 where the normal value exceeds a threshold that a sixth exceeds;
``clipped``, the normal value or 0, whichever is larger. Without a difference every "worse" is a false one. Power: one
method is better than all others, which are alike, by so many standard errors of a difference (networks and images).
"""

from __future__ import annotations

import sys
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np

from benchmark import store
from benchmark.leaderboard import stats, tables, variances
from benchmark.utils.seeds import generator

Array = np.ndarray

IMAGES = 64
METHODS = (2, 6, 13)
NETWORKS = (1, 3, 5)
KINDS = ("normal", "zero-one", "clipped")


class Components(NamedTuple):
    """Variances of method x network, of method x image, and of single values.

    The network variance of a method is network * dof / chi^2(dof), less ``noise``; dof inf: the same for all.
    """

    network: float
    image: float
    cell: float
    dof: float = np.inf
    noise: float = 0.0


COMPONENTS = {
    "images": Components(0.0, 0.5, 0.5),
    "mixed": Components(0.02, 0.4, 0.58),
    "networks": Components(0.2, 0.3, 0.5),
}


def components(values: Array) -> Components | None:
    """Of the methods of a table (M, S, N) that have no gaps, by mean squares.

    None for one method, network or image, or no variance.
    """
    values = values[~np.isnan(values).any((1, 2))]
    m, s, n = values.shape
    if min(m, s, n) < 2:
        return None
    x = values - values.mean(0)  # what methods share is lost
    x = (x - x.mean((1, 2), keepdims=True)) * np.sqrt(m / (m - 1))
    by_network, by_image = x.mean(2), x.mean(1)
    rest = x - by_network[:, :, None] - by_image[:, None]
    cell = (rest**2).sum() / (m * (s - 1) * (n - 1))
    image = max((by_image**2).sum() / (m * (n - 1)) - cell / s, 0)
    squares = by_network.var(1, ddof=1)  # (M,): network + cell / n
    prior = variances.fit(squares, np.full(m, s - 1), most=100)
    total = cell + image + max(squares.mean() - cell / n, 0)
    if not prior.dof or total <= 0:
        return None
    return Components(
        prior.s2 / total, image / total, cell / total, prior.dof, cell / n / total
    )


def network_variances(rng: np.random.Generator, of: Components, m: int) -> Array:
    """Of each method, (M,)."""
    if np.isinf(of.dof):
        return np.full(m, of.network)
    drawn = of.network * of.dof / rng.chisquare(of.dof, m)
    return np.maximum(drawn - of.noise, 0)


@cache
def offline() -> list[Components]:
    """The components of the committed tables of ``offline``."""
    paths = store.Paths("offline")
    rows, values = store.read_rows(paths.rows), store.read_values(paths.values)
    found = []
    for contest in tables.contests(tables.labelled(rows), values):
        if contest.track not in tables.UNRANKED:
            found.append(components(contest.values))
    return [one for one in found if one is not None]


def table(
    rng: np.random.Generator, m: int, s: int, kind: str, of: Components, lead=0.0
) -> Array:
    """Values (M, S, N); the first method is better by ``lead`` standard errors of a difference."""
    alone = s < stats.NETWORKS  # the truth is that of this network
    network = np.zeros(m) if alone else network_variances(rng, of, m)
    a = np.sqrt(network)[:, None, None] * rng.normal(size=(m, s, 1))
    b = np.sqrt(of.image) * rng.normal(size=(m, 1, IMAGES))
    e = np.sqrt(of.cell) * rng.normal(size=(m, s, IMAGES))
    shared = rng.normal(size=(s, 1)) * 0.3 + rng.normal(size=(1, IMAGES))
    x = a + b + e
    error = np.sqrt(
        2 * (network.mean() / s + of.image / IMAGES + of.cell / (s * IMAGES))
    )
    x[0] += lead * error
    if kind == "normal":
        return x + shared
    if kind == "zero-one":
        return (x + shared > np.sqrt(2)).astype(float)
    return np.maximum(x + shared, 0)


def marks(values: Array) -> Array:
    """(M,) bool: the methods that the board calls worse than another."""
    return stats.worse(stats.compare(values, "higher")) < stats.ALPHA


def rates(
    m: int, s: int, kind: str, name: str, times: int, lead: float = 0.0
) -> tuple[float, float]:
    """The share of tables in which a method is wrongly called worse, and the share of worse methods that are found."""
    pool = offline() if name == "offline" else [COMPONENTS[name]]
    false, found = [], []
    for i in range(times):
        rng = generator("board", m, s, kind, name, lead, i)
        of = pool[rng.integers(len(pool))]
        worse = marks(table(rng, m, s, kind, of, lead))
        false.append(worse[0] if lead else worse.any())
        found.append(worse[1:].mean())
    return float(np.mean(false)), float(np.mean(found))


def settings() -> list[tuple[str, str]]:
    """(components, kind of values). Variances that differ between methods move the means of values that are cut."""
    return [*product(COMPONENTS, KINDS), ("offline", "normal")]


def main(times: int = 1000) -> None:
    """Print the rates of false "worse" and the power, as Markdown."""
    heads = [f"{m} methods, {s} nets" for m in METHODS for s in NETWORKS]
    for lead in (0.0, 5.0):
        print(f"\nlead {lead:g}\n\n| variance | values | {' | '.join(heads)} |")
        print(f"|---|---|{'---:|' * len(heads)}")
        for name, kind in settings():
            cells = []
            for m, s in product(METHODS, NETWORKS):
                rate = rates(m, s, kind, name, times // 4 if lead else times, lead)
                cells.append(f"{rate[1 if lead else 0]:.3f}")
            print(f"| {name} | {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
