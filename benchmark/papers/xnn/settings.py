"""What the mappings among an experiment's settings are settings of."""

from benchmark.papers.xnn.srae import Setting

NESTED = {"training": Setting}
