"""Frames in, frames out: tables, statistics, reproduction; ``render`` shows them. Without torch, methods, networks.

rows, instances -> tables.leaderboard -> leaderboard.{csv,md}   the board: mean, interval, rank, mark
                -> reproduction.table -> reproduction.{csv,md}  published beside measured
                -> plots, gallery     -> plots/*.{svg,png}
                -> page.render        -> *.html                 boards, papers, reproduction, about; they show the plots
"""
