"""One result for each track and family of metrics: who wins how many duels, and how sure its place is.

Idea: two methods meet in every table that has both, and the better mean wins the duel. A method's win rate is the
share that it wins against each rival, averaged over the rivals: who takes part in small tables only is neither punished
nor favoured, and a method without any rival is "alone" instead of first. Only tables that count take part
(``tables.judged``).

Use:
    placed = places(frame, contests)          # with intervals
    placed = places(frame)                    # from the board alone, without them
    of(placed, "heatmap"); of(placed, "heatmap", "faithfulness")

Theory: what is counted weighs like this. Settings of one metric on one network share one vote; networks of one data set
share one; metrics weigh alike within a family, families within a track. The interval of a place is that of ``DRAWS``
resamples of the data sets and, within each, of networks and images (``stats.bootstrap``, the same for all methods and
metrics of a network); ``first`` is the share of resamples with the first place. Metrics are not resampled: they are
chosen, not drawn. With one data set the interval says nothing of others. The normalised rank is (rank - 1) / (methods -
1), 0 = first in every table; of complete tables it is 1 - win rate.

Reference: Owen (2007), The pigeonhole bootstrap; Goldstein and Spiegelhalter (1996), League tables and their
limitations (intervals of places).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import scipy

from benchmark import store
from benchmark.leaderboard import stats, tables
from benchmark.leaderboard.contests import COST, TABLE, Contest
from benchmark.utils.seeds import generator

ALL = ""  # in the place of a family: all families of the track
COLUMNS = [
    "track",
    "family",
    "label",
    "control",
    "place",
    "low",
    "high",
    "first",
    "win_rate",
    "normalised_rank",
    "tables",
    "failed",
]
_NUMBERS = ("place", "low", "high", "first", "win_rate", "normalised_rank")
Draws = Mapping[tuple[str, ...], Mapping[str, np.ndarray]]  # table -> label -> (B,)


def places(frame: pd.DataFrame, contests: Sequence[Contest] = ()) -> pd.DataFrame:
    """The places of each track's methods, over all families (``ALL``) and in each.

    Args:
        frame: the board (``tables.leaderboard``).
        contests: what it was made from, for the intervals.

    Returns:
        COLUMNS, best first. place: NaN for a method that is alone; low, high: 95 %, NaN without contests; tables: that
        count and in which it has a rival, settings folded; failed: in how many of all tables.
    """
    counting = frame.loc[frame["counts"].astype(bool), TABLE]
    wanted = set(counting.itertuples(index=False, name=None))
    draws = _draws([each for each in contests if tuple(each.key.values()) in wanted])
    parts = [pd.DataFrame(columns=COLUMNS)]
    for track in tables.tracks(frame):
        parts += _of_track(_taking_part(frame, track), draws)
    out = pd.concat([part for part in parts if len(part)] or parts[:1])
    return out[COLUMNS].reset_index(drop=True)


def costs(frame: pd.DataFrame, track: str) -> dict[str, float]:
    """By method, the forward passes that an explanation takes, the mean over networks."""
    of_track = frame["track"] == track
    is_cost = frame["metric"] == COST
    lines = frame[of_track & is_cost].dropna(subset="mean")
    by_method = lines.groupby("label")["mean"]
    return by_method.mean().to_dict()


def of(placed: pd.DataFrame, track: str, family: str = ALL) -> pd.DataFrame:
    """The lines of one track and family."""
    chosen = (placed["track"] == track) & (placed["family"] == family)
    return placed[chosen].reset_index(drop=True)


def families(placed: pd.DataFrame, track: str) -> list[str]:
    """The families of a track in which somebody has a place, if there are several."""
    part = placed[placed["track"] == track]
    ranked = part.loc[part["place"].notna(), "family"]
    ranked = ranked[ranked != ALL]
    found = list(dict.fromkeys(ranked))
    return found if len(found) > 1 else []


def duels(frame: pd.DataFrame, track: str) -> pd.DataFrame:
    """Methods x methods of a track: the share of duels that the row wins, families weighing alike; NaN without any."""
    part = _taking_part(frame, track)
    labels = list(dict.fromkeys(part["label"]))
    wins = _Wins(part, labels, {})
    won = wins.rates()[ALL][..., 0]
    return pd.DataFrame(won, index=labels, columns=labels)


def _taking_part(frame: pd.DataFrame, track: str) -> pd.DataFrame:
    of_track = frame["track"] == track
    applies = frame["status"] != "not applicable"
    return frame[of_track & applies]


# --------------------------------------------------------------------------------------------- duels


def _draws(contests: Sequence[Contest]) -> Draws:
    """Of each contest, the resampled means of its methods."""
    out: dict[tuple[str, ...], dict[str, np.ndarray]] = {}
    for contest in contests:
        if not contest.contested or len(contest.methods) < 2:
            continue
        network = contest.key["dataset"], contest.key["target"]
        means = np.full((len(contest.methods), stats.DRAWS), np.nan)
        for part, values in contest.measured():
            if values.size:
                means[part] = stats.bootstrap(values, *network)
        key = tuple(contest.key.values())
        out[key] = dict(zip(contest.labels, means, strict=True))
    return out


class _Wins:
    """The duels of a track: for each family won / fought, both (M, M, B); column 0 is the board itself."""

    def __init__(self, part: pd.DataFrame, labels: Sequence[str], draws: Draws) -> None:
        m = len(labels)
        resamples = stats.DRAWS if draws else 0
        self.index = dict(zip(labels, range(m), strict=True))
        self.size = m, 1 + resamples
        self.won: dict[str, np.ndarray] = {}
        self.fought: dict[str, np.ndarray] = {}
        self.behind = np.zeros((2, m))  # sum and weight of normalised ranks
        counting = part[part["counts"].astype(bool)]
        votes = _votes(counting)
        drawn = self._drawn(part)
        for key, table in counting.groupby(TABLE, sort=False):
            _, dataset, target, metric, _ = key
            if len(table) > 1:
                vote = votes[dataset, target, metric]
                self._add(table, draws.get(key, {}), vote * drawn[dataset])

    def _drawn(self, part: pd.DataFrame) -> dict[str, np.ndarray]:
        """By data set, how often it is drawn in each resample, (B,); once on the board itself."""
        datasets = sorted(set(part["dataset"]))
        d = len(datasets)
        _, draws = self.size
        rng = generator("places", *datasets)
        times = np.ones((draws, d))
        if d:
            times[1:] = stats.counts(rng, draws - 1, d, d)
        return dict(zip(datasets, times.T, strict=True))

    def _add(
        self, table: pd.DataFrame, drawn: Mapping[str, np.ndarray], weight: np.ndarray
    ) -> None:
        """The duels of one table; ``weight``: (B,)."""
        score = self._scores(table, drawn)
        ahead = score[:, None] > score[None]  # (m, m, B)
        equal = score[:, None] == score[None]
        wins = ahead + 0.5 * equal
        at = np.array([self.index[label] for label in table["label"]])
        pairs = np.ix_(at, at)
        m, draws = self.size
        for sums, each in ((self.won, wins), (self.fought, 1.0)):
            of_family = sums.setdefault(
                table["family"].iloc[0], np.zeros((m, m, draws))
            )
            of_family[pairs] += weight * each
        rivals = len(at) - 1
        won = wins[..., 0].sum(1) - 0.5  # without the tie with oneself
        behind = 1 - won / rivals
        self.behind[0, at] += weight[0] * behind
        self.behind[1, at] += weight[0]

    def _scores(
        self, table: pd.DataFrame, drawn: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Means of the board and resampled ones, higher is better, (m, B)."""
        board = table["mean"].to_numpy(np.float64)[:, None]  # (m, 1)
        _, draws = self.size
        missing = np.full(draws - 1, np.nan)
        resampled = np.stack([drawn.get(label, missing) for label in table["label"]])
        resampled = np.where(np.isnan(resampled), board, resampled)
        score = np.hstack([board, resampled])
        if table["better"].iloc[0] == "lower":
            score = -score
        score = np.nan_to_num(score, nan=-np.inf)  # failed: behind all others
        return score.astype(np.float32)  # equal as written: seven digits

    def rates(self) -> dict[str, np.ndarray]:
        """By family, and for ``ALL`` of them: win rates (M, M, B), NaN on the diagonal and where two never met."""
        out = {}
        m, draws = self.size
        oneself = np.eye(m, dtype=bool)
        for family, won in self.won.items():
            with np.errstate(invalid="ignore", divide="ignore"):
                rate = won / self.fought[family]
            rate[oneself] = np.nan
            out[family] = rate
        never = np.full((m, m, draws), np.nan)
        every = np.stack(list(out.values()) or [never])
        return {**out, ALL: _nanmean(every)}


def _votes(lines: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    """By (dataset, target, metric), the weight of a table: 1 / the metric's settings / the networks of the data set."""
    networks = lines.groupby("dataset")["target"].nunique()
    by_metric = lines.groupby(["dataset", "target", "metric"])
    settings = by_metric["metric_setting"].nunique()
    votes = {}
    for key, count in settings.items():
        dataset, _, _ = key
        votes[key] = 1 / count / networks[dataset]
    return votes


def _nanmean(x: np.ndarray) -> np.ndarray:
    """Over the first axis."""
    known = ~np.isnan(x)
    with np.errstate(invalid="ignore"):
        return np.where(known, x, 0).sum(0) / known.sum(0)


# --------------------------------------------------------------------------------------------- places


def _of_track(part: pd.DataFrame, draws: Draws) -> list[pd.DataFrame]:
    methods = part.drop_duplicates("label").set_index("label")["control"]
    found = _Wins(part, list(methods.index), draws)
    out = []
    for family, rates in found.rates().items():
        lines = part if family == ALL else part[part["family"] == family]
        counting = lines[lines["counts"].astype(bool)]
        rivals = counting.groupby(TABLE)["label"].transform("size") > 1
        contested = counting[rivals].drop_duplicates(["label", *TABLE[:4]])
        with np.errstate(invalid="ignore"):
            score = _nanmean(rates.swapaxes(0, 1))  # (M, B): over the rivals
            behind = found.behind[0] / found.behind[1]
        table = methods.reset_index().assign(
            track=part["track"].iloc[0],
            family=family,
            win_rate=score[:, 0],
            normalised_rank=behind if family == ALL else np.nan,
            tables=_times(contested["label"], methods.index),
            failed=_times(
                lines.loc[lines["status"] == "failed", "label"], methods.index
            ),
            **_intervals(score),
        )
        here = methods.index.isin(lines["label"])
        by = ["win_rate", "label"]
        table = table[here].sort_values(by, ascending=[False, True], kind="stable")
        out.append(table)
    return out


def _times(labels: pd.Series, of_all: pd.Index) -> np.ndarray:
    return labels.value_counts().reindex(of_all, fill_value=0).to_numpy()


def _intervals(score: np.ndarray) -> dict[str, np.ndarray]:
    """place, low, high, first of win rates (M, 1 + B), NaN for methods without a rival."""
    rank = scipy.stats.rankdata(-score, axis=0, method="min", nan_policy="omit")
    place = rank[:, 0]
    low, high, first = np.full((3, len(score)), np.nan)
    rivals = ~np.isnan(place)
    resampled = rank[rivals, 1:]
    if resampled.size:
        tail = (1 - stats.LEVEL) / 2
        tails = [tail, 1 - tail]
        ends = np.nanquantile(resampled, tails, axis=1, method="inverted_cdf")
        low[rivals], high[rivals] = ends
        first[rivals] = (resampled == 1).mean(1)
    return {"place": place, "low": low, "high": high, "first": first}


# --------------------------------------------------------------------------------------------- words and files


def words(line) -> str:
    """A place with its interval, ``2 (1–4)``; ``alone`` without a rival."""
    if pd.isna(line.place):
        return "alone"
    if pd.isna(line.low):
        return f"{line.place:g}"
    return f"{line.place:g} ({line.low:g}–{line.high:g})"


def csv_text(placed: pd.DataFrame) -> str:
    """``places.csv``: COLUMNS, numbers with seven significant digits."""
    placed = placed[COLUMNS].copy()
    for column in _NUMBERS:
        placed[column] = [store.format_value(value) for value in placed[column]]
    return placed.to_csv(index=False, lineterminator="\n")


def read(path: Path) -> pd.DataFrame:
    """The places from ``places.csv``.

    Raises:
        StoreError: the file is missing or damaged.
    """
    types = dict.fromkeys(COLUMNS, str) | dict.fromkeys(_NUMBERS, float)
    types |= {"tables": int, "failed": int}
    missing = {column: [""] for column in _NUMBERS}
    try:
        placed = pd.read_csv(
            path, dtype=types, keep_default_na=False, na_values=missing
        )
        return placed[COLUMNS].assign(control=placed["control"] == "True")
    except FileNotFoundError:
        raise store.StoreError(f"{path} is missing; run `glassbench report`") from None
    except (ValueError, KeyError, pd.errors.ParserError) as error:
        raise store.StoreError(
            f"{path} is damaged ({type(error).__name__}: {error}); run `glassbench report`"
        ) from None
