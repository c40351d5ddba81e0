"""glassbench: a reproducible benchmark of methods that explain what happens inside neural networks."""

import os
import platform

__version__ = "0.1.0"

if platform.machine().lower() in ("x86_64", "amd64"):
    # numpy's OpenBLAS chooses kernels by the CPU, and rounding with them. These run on every CPU with AVX2.
    os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")
