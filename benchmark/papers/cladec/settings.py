"""What the mappings among an experiment's settings are settings of."""

from benchmark.papers.cladec.training import Training

NESTED = {"decoding": Training, "evaluation": Training, "training": Training}
