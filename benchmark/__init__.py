"""glassbench: a reproducible benchmark of methods that explain what happens inside neural networks."""

__version__ = "0.1.0"
