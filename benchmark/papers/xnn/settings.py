"""The classes whose fields an experiment's nested settings are."""

from benchmark.papers.xnn.network import Setting

NESTED = {"training": Setting}
