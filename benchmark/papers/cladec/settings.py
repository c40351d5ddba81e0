"""The classes whose fields an experiment's nested settings are."""

from benchmark.papers.cladec.training import Training

NESTED = {"decoding": Training, "evaluation": Training, "training": Training}
