"""What two papers, or a paper and a baseline, need: excitation backprop, concepts, attention maps, counts of work."""
