"""Data sets, one npz each: how they are read, downloaded and unpacked."""

from benchmark.data.dataset import SPLITS, Dataset, load, load_card, save

__all__ = ["SPLITS", "Dataset", "load", "load_card", "save"]
