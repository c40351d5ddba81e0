"""The devices that this machine has: what they are called and how much memory they took. Nothing here decides a number.

``torch.get_device_module`` gives the functions of a kind of device: ``torch.cuda``, ``torch.xpu``.
"""

from __future__ import annotations

import torch

Device = torch.device | str
_NOT_BY_DEFAULT = ("mps",)  # no float64, which methods and metrics need


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
    return (
        index.isdecimal() and int(index) < torch.get_device_module(kind).device_count()
    )


def name(device: Device) -> str:
    """What an accelerator calls itself, as ``NVIDIA H100 80GB HBM3``; else its kind."""
    named = getattr(torch.get_device_module(device), "get_device_name", None)
    if named and torch.device(device).type != "cpu":
        return named(device)
    return torch.device(device).type


def reset_peak_memory(device: Device) -> None:
    """Start a new measurement of an accelerator's memory."""
    if torch.device(device).type != "cpu":
        torch.get_device_module(device).reset_peak_memory_stats(device)


def peak_memory(device: Device) -> float:
    """The most bytes that tensors held on an accelerator since ``reset_peak_memory``."""
    return torch.get_device_module(device).max_memory_allocated(device)
