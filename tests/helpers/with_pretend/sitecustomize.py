"""Python imports this first where ``PYTHONPATH`` names this folder: the process, and those it starts, have the pretend
device."""

import benchmark  # noqa: F401  (chooses the kernels of BLAS, before numpy loads it)
from tests.helpers import pretend

pretend.switch_on()
