"""Data sets: one npz for each, how it is read, downloaded and unpacked."""

from benchmark.data.dataset import SPLITS, Dataset, load, load_card, save

__all__ = ["SPLITS", "Dataset", "load", "load_card", "save"]
