"""Data sets: one npz for each, how it is read, downloaded and unpacked."""

from benchmark.data.dataset import Dataset, load, save

__all__ = ["Dataset", "load", "save"]
