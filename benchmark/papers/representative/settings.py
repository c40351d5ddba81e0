"""What the mappings among an experiment's settings are settings of."""

NESTED = {"ace": "baselines/ace.py:ACE"}
