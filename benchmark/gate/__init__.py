"""The gate for results: what is better, worse or lost between two of them, by more than the noise between seeds."""
