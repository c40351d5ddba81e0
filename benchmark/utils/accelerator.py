"""Devices besides the CPU, asked for what they have in common: a GPU of NVIDIA, AMD or Intel, or what a library adds.

``torch.get_device_module`` gives the functions of a kind of device: ``torch.cuda``, ``torch.xpu``. What CUDA alone has
are its settings in ``engine.machine.single_thread`` and ``zoo.training``, which other devices ignore.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

Device = torch.device | str


def is_accelerator(device: Device) -> bool:
    """Is it a device of its own? The CPU is none, nor is ``meta``, which knows shapes alone."""
    return torch.device(device).type not in ("cpu", "meta")


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


def _module(device: Device) -> Any:
    return torch.get_device_module(device)
