"""glassbench: a reproducible benchmark of methods that explain what happens inside neural networks."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

__version__ = "0.1.0"


def _numpy_is_at_least(major: int, minor: int) -> bool:
    try:
        return tuple(int(part) for part in version("numpy").split(".")[:2]) >= (
            major,
            minor,
        )
    except (PackageNotFoundError, ValueError):
        return False


if platform.machine().lower() in ("x86_64", "amd64"):
    # Libraries choose kernels by the CPU, and rounding with them. Those for AVX2 run on every CPU of the last ten
    # years:
    # the same commit gives the same rows on all of them, whatever more a CPU has.
    os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")
    os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx2")
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    os.environ.setdefault("MKL_ENABLE_INSTRUCTIONS", "AVX2")
    if _numpy_is_at_least(2, 4):  # earlier versions have other names for the same
        os.environ.setdefault(
            "NPY_DISABLE_CPU_FEATURES", "X86_V4 AVX512_ICL AVX512_SPR"
        )
