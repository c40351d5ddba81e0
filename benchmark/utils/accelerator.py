"""Devices besides the CPU, asked for what they have in common: a GPU of NVIDIA, AMD or Intel, or what a library adds.

``torch.get_device_module`` gives the functions of a kind of device: ``torch.cuda``, ``torch.xpu``. What CUDA alone has
are its settings in ``engine.machine.single_thread`` and ``zoo.training``, which other devices ignore.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

Device = torch.device | str
_NOT_BY_DEFAULT = ("mps",)  # no float64, which methods and metrics need


def is_accelerator(device: Device) -> bool:
    """Is it a device of its own? The CPU is none, nor is ``meta``, which knows shapes alone."""
    return torch.device(device).type not in ("cpu", "meta")


def kinds() -> list[str]:
    """The kinds of device that this machine has: ``cpu``, and its accelerator if any."""
    if not torch.accelerator.is_available():
        return ["cpu"]
    return ["cpu", torch.accelerator.current_accelerator().type]


def available() -> str:
    """``cuda``, or another accelerator that the code here runs on; ``cpu`` where there is none."""
    found = kinds()[-1]
    return "cpu" if found in _NOT_BY_DEFAULT else found


def exists(device: str) -> bool:
    """Does this machine have such a device, as ``cuda`` or ``cuda:1``?"""
    kind, colon, index = device.partition(":")
    if not colon or kind not in kinds():
        return kind in kinds()
    return index.isdecimal() and int(index) < _module(kind).device_count()


def name(device: Device) -> str:
    """What an accelerator calls itself, as ``NVIDIA H100 80GB HBM3``; else its kind."""
    named = getattr(_module(device), "get_device_name", None)
    if named and is_accelerator(device):
        return named(device)
    return torch.device(device).type


def bfloat16(device: Device) -> AbstractContextManager:
    """Inside, an accelerator computes products in bfloat16; a CPU stays at float32."""
    if not is_accelerator(device):
        return nullcontext()
    return torch.autocast(torch.device(device).type, torch.bfloat16)


def seed(number: int, device: Device) -> None:
    """The random numbers that an accelerator draws by itself follow this seed from now on."""
    state = torch.Generator(device).manual_seed(number).get_state()
    _module(device).set_rng_state(state, device)


def free_memory(device: Device) -> float:
    """Bytes that new tensors may take on an accelerator: what is free, and what torch keeps for reuse."""
    module = _module(device)
    free, _ = module.mem_get_info(device)
    return free + module.memory_reserved(device) - module.memory_allocated(device)


def reset_peak_memory(device: Device) -> None:
    """Start a new measurement of an accelerator's memory."""
    if is_accelerator(device):
        _module(device).reset_peak_memory_stats(device)


def peak_memory(device: Device) -> float:
    """The most bytes that tensors held on an accelerator since ``reset_peak_memory``."""
    return _module(device).max_memory_allocated(device)


def _module(device: Device) -> Any:
    return torch.get_device_module(device)
