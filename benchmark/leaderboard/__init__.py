"""Frames in, frames out: tables, statistics, plots, page, gallery, reproduction, comparison. Knows no torch, no method
and no network.

    rows, instances -> tables.leaderboard -> leaderboard.{csv,md}   the board: mean, interval, rank, mark
                    -> reproduction.table -> reproduction.{csv,md}  published beside measured
                    -> plots, gallery     -> plots/*.{svg,png}
                    -> page.render        -> index.html             all of it in one file
    rows, rows      -> diff.diff, gate.judge -> diff_show           better, worse, lost: what CI stops at
"""

from benchmark.leaderboard.build import build

__all__ = ["build"]
