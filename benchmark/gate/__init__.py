"""The gate for results: what is better, worse or lost between two sets of rows, by more than noise between seeds."""
