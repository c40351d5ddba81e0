"""Small helpers without knowledge of the benchmark: near names, seeds, temporary folders, the style of plots."""
