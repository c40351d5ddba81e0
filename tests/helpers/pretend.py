"""A pretend accelerator: tensors that say ``pretend:0``, are computed on the CPU and never mix with CPU tensors.

    with pretend.device() as found:             # inside, torch has an accelerator
        net.to("pretend:0"); torch.zeros(3, device="pretend")
        found.peak                              # bytes that its tensors held at once

Idea: a subclass of Tensor wraps a CPU tensor of the same sizes and strides. An operation on wrapped tensors runs on
what they wrap; one that meets a CPU tensor of one or more dimensions raises what CUDA raises. Factories
(``torch.zeros(..., device="pretend")``) and copies reach kernels of torch's key for devices from outside, PrivateUse1;
no mode has to be on, so that threads need nothing but ``switch_on``, and other processes nothing but the environment of
``everywhere``.

What it shows: a tensor left on another device, ``.numpy()`` without ``.cpu()``, a factory without ``device=``, a
generator of another device, a layout that is lost, code that asks for CUDA where any accelerator would do, memory.
``bfloat16=True`` casts under autocast as CUDA does; without it autocast changes nothing, and numbers are the CPU's.
What it does not show: speed, kernels that add in another order, and fused cells of LSTMs and GRUs, which torch asks of
such a device and no CPU has.

Also tried, with torch 2.15: a wrapper that says ``cuda:0`` runs forwards, but autograd asks the missing driver for a
context. A fallback kernel on PrivateUse1 keeps no strides: views of channels-last tensors come out wrong.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map

from tests.helpers.places import ROOT

NAME = "pretend"
aten = torch.ops.aten


# --------------------------------------------------------------------------------------------- the device


class _Device:
    """What torch and we ask of a device's module (``torch.pretend``)."""

    def __init__(self) -> None:
        self.on = self.bfloat16 = False
        self.memory = 2**40  # bytes
        self.generators = [torch.Generator()]  # the first is the device's own
        self._storages: dict[int, weakref.ref] = {}
        self.allocated = self.peak = 0

    def is_available(self) -> bool:
        return self.on

    def is_initialized(self) -> bool:
        return self.on

    def device_count(self) -> int:
        return int(self.on)

    def current_device(self) -> int:
        return 0

    def _is_in_bad_fork(self) -> bool:
        return False

    def get_device_name(self, device: Any = None) -> str:
        return "Pretend 1"

    # Random numbers: generators of its own, whose draws are the CPU's.

    def manual_seed(self, seed: int) -> None:
        self.generators[0].manual_seed(seed)

    manual_seed_all = manual_seed

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        return self.generators[0].get_state()

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
        self.generators[0].set_state(state)

    def has(self, generator: torch.Generator) -> bool:
        return generator._cdata in [own._cdata for own in self.generators]

    # Memory.

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        return self.memory - self.allocated, self.memory

    def memory_allocated(self, device: Any = None) -> int:
        return self.allocated

    memory_reserved = memory_allocated

    def max_memory_allocated(self, device: Any = None) -> int:
        return self.peak

    def reset_peak_memory_stats(self, device: Any = None) -> None:
        self.peak = self.allocated

    def note(self, storage: torch.UntypedStorage) -> None:
        """Count a storage while it is alive."""
        key, size = storage._cdata, storage.nbytes()
        if key in self._storages:
            return

        def gone(_: Any) -> None:
            self.allocated -= size
            self._storages.pop(key, None)

        self._storages[key] = weakref.ref(storage, gone)
        self.allocated += size
        self.peak = max(self.peak, self.allocated)

    # Streams are the CPU's order of things.

    def synchronize(self, device: Any = None) -> None:
        pass

    def empty_cache(self) -> None:
        pass

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


class _Hooks(torch._C._acc.PrivateUse1Hooks):
    def is_built(self) -> bool:
        return True

    def is_available(self) -> bool:
        return IT.on

    def has_primary_context(self, index: int) -> bool:
        return IT.on


# On import, since autograd asks for the devices that there are before its first backward pass in a process.
IT = _Device()
backend_registration._setup_privateuseone_for_python_backend(NAME, IT, _Hooks())
DEVICE = torch.device(NAME, 0)


# --------------------------------------------------------------------------------------------- its tensors


class OnDevice(torch.Tensor):
    """Says ``pretend:0``; ``raw`` is the CPU tensor that it stands for, with the same sizes and strides."""

    raw: torch.Tensor

    @staticmethod
    def __new__(cls, raw: torch.Tensor) -> OnDevice:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            raw.shape,
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            device=DEVICE,
        )
        made.raw = raw
        IT.note(raw.untyped_storage())
        return made

    def __repr__(self) -> str:
        return f"{self.raw}, on {DEVICE}"

    def tolist(self) -> Any:
        return self.raw.tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(
        cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(operation, args, kwargs or {})


_PYTHON = torch._C.DispatchKeySet(torch._C.DispatchKey.Python)


def _raw(value: Any) -> Any:
    return value.raw if isinstance(value, OnDevice) else value


def _wrapped(value: Any) -> Any:
    return OnDevice(value) if isinstance(value, torch.Tensor) else value


def _is_there(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _run(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operation that meets a tensor of the device."""
    if operation is aten.copy_.default:
        _raw(args[0]).copy_(_raw(args[1]))
        return args[0]
    if torch.Tag.inplace_view in operation.tags:  # squeeze_, and such
        operation(args[0].raw, *args[1:], **kwargs)
        with torch._C._ExcludeDispatchKeyGuard(_PYTHON):
            return operation(*args, **kwargs)
    kwargs = dict(kwargs)
    moves = kwargs.get("device") is not None
    there = _is_there(kwargs["device"]) if moves else True
    if operation is not aten._to_copy.default:
        _refuse_mixed(operation, args, kwargs)
    if operation in (aten._local_scalar_dense.default, aten.equal.default):
        there = False
    if moves:
        kwargs["device"] = torch.device("cpu")
    kwargs.pop("non_blocking", None)
    _draw_here(operation, kwargs)
    out = operation(*tree_map(_raw, args), **tree_map(_raw, kwargs))
    if written := _written(operation, args, kwargs):
        returned = len(operation._schema.returns)
        return tuple(written) if returned > 1 else written[0] if returned else None
    return tree_map(_wrapped, out) if there else out


def _refuse_mixed(operation: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """As CUDA: a CPU tensor may be a number or, where elements are picked, the indices."""
    if "index" in operation.name():
        args = args[:1] + args[2:]
    for value in tree_leaves((args, kwargs)):
        if not isinstance(value, torch.Tensor) or isinstance(value, OnDevice):
            continue
        if value.dim():
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found "
                f"{value.device} and {DEVICE} (in {operation})"
            )


def _draw_here(operation: Any, kwargs: dict[str, Any]) -> None:
    """Random numbers come from the device's own generator; one of the CPU is refused."""
    if torch.Tag.nondeterministic_seeded not in operation.tags:
        return
    names = [argument.name for argument in operation._schema.arguments]
    given = kwargs.get("generator")
    if given is not None and not IT.has(given):
        raise RuntimeError(
            f"Expected a '{NAME}' device type for generator but found 'cpu'"
        )
    if "generator" in names:
        kwargs["generator"] = given or IT.generators[0]


def _written(operation: Any, args: Any, kwargs: dict[str, Any]) -> list[OnDevice]:
    """The tensors that an operation writes, in place or as ``out``."""
    found = []
    for place, argument in enumerate(operation._schema.arguments):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        value = args[place] if place < len(args) else kwargs.get(argument.name)
        found += [t for t in tree_leaves(value) if isinstance(t, OnDevice)]
    for tensor in found:
        if tensor.shape != tensor.raw.shape or tensor.stride() != tensor.raw.stride():
            raise NotImplementedError(f"{operation} changes a tensor's sizes in place")
    return found


# --------------------------------------------------------------------------------------------- made from outside


def _empty(size: Any, memory_format: Any = None, **kwargs: Any) -> OnDevice:
    layout = memory_format or torch.contiguous_format
    return OnDevice(torch.empty(size, dtype=kwargs["dtype"], memory_format=layout))


def _empty_strided(size: Any, stride: Any, **kwargs: Any) -> OnDevice:
    return OnDevice(torch.empty_strided(size, stride, dtype=kwargs["dtype"]))


def _copy_from(source: Any, target: Any, non_blocking: bool = False) -> Any:
    _raw(target).copy_(_raw(source))
    return target


def _factory(operation: Any) -> Any:
    """A kernel that makes the tensor on the CPU and wraps it."""

    def kernel(*args: Any, device: Any = None, **kwargs: Any) -> OnDevice:
        _draw_here(operation, kwargs)
        kwargs["pin_memory"] = False
        return OnDevice(operation(*args, device="cpu", **kwargs))

    return kernel


# Factories that write into an empty tensor and give it its size; all others are made of ``empty``.
SIZED = (
    aten.arange.default,
    aten.arange.start,
    aten.arange.start_step,
    aten.eye.default,
    aten.eye.m,
    aten.linspace.default,
    aten.randperm.default,
    aten.randperm.generator,
    aten.scalar_tensor.default,
    aten.tril_indices.default,
    aten.triu_indices.default,
)
# What CUDA computes in bfloat16, and in float32, under autocast (torch's documentation of ``torch.amp``).
LOWERED = (
    aten.conv1d.default,
    aten.conv2d.default,
    aten.conv_transpose2d.input,
    aten.linear.default,
    aten.matmul.default,
    aten.mm.default,
    aten.bmm.default,
    aten.addmm.default,
    aten.baddbmm.default,
    aten.prelu.default,
)
RAISED = (
    aten.binary_cross_entropy_with_logits.default,
    aten.cross_entropy_loss.default,
    aten.exp.default,
    aten.log.default,
    aten.log_softmax.int,
    aten.mse_loss.default,
    aten.pow.Tensor_Scalar,
    aten.softmax.int,
    aten.sum.default,
    aten.sum.dim_IntList,
)
_AUTOCAST = "AutocastPrivateUse1"


def _autocast(operation: Any, dtype: torch.dtype) -> Any:
    """A kernel that casts floating tensors of the device, as CUDA does."""
    key = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, _AUTOCAST))

    def cast(value: Any) -> Any:
        moves = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.to(dtype) if moves and value.device.type == NAME else value

    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(key):
            if IT.bfloat16:
                args, kwargs = tree_map(cast, args), tree_map(cast, kwargs)
            return operation(*args, **kwargs)

    return kernel


def _register() -> list[Any]:
    """Make the device known to torch; the kernels are its own as long as what this returns lives."""
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty.memory_format", _keywords(_empty, 1), "PrivateUse1")
    library.impl("empty_strided", _keywords(_empty_strided, 2), "PrivateUse1")
    library.impl("_copy_from", _copy_from, "PrivateUse1")
    for operation in SIZED:
        library.impl(operation, _factory(operation), "PrivateUse1")
    # What is not listed computes in the types that it is given.
    others = torch.library.Library("_", "IMPL")
    others.fallback(torch.library.fallthrough_kernel, _AUTOCAST)
    for operations, dtype in ((LOWERED, torch.bfloat16), (RAISED, torch.float32)):
        for operation in operations:
            library.impl(operation, _autocast(operation, dtype), _AUTOCAST)
    return [library, others]


def _keywords(function: Any, sizes: int) -> Any:
    """The options of a factory, which torch passes by position, by their names."""
    names = ("dtype", "layout", "device", "pin_memory", "memory_format")

    def kernel(*args: Any, **kwargs: Any) -> OnDevice:
        named = dict(zip(names, args[sizes:], strict=False))
        return function(*args[:sizes], **{"dtype": None, **named, **kwargs})

    return kernel


_KERNELS = _register()


class _LikePlain(type(torch._C.Generator)):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, torch._C.Generator)


class _Generator(torch._C.Generator, metaclass=_LikePlain):
    """torch.Generator that takes our device; one of a new kind would need C++."""

    def __new__(cls, device: Any = "cpu") -> torch.Generator:
        if not _is_there(device):
            return torch._C.Generator(device)
        IT.generators.append(torch._C.Generator())
        return IT.generators[-1]


def switch_on(bfloat16: bool = False, memory: int = 2**40) -> _Device:
    """From now on this process has the device, with so many bytes of memory."""
    torch.Generator = _Generator
    IT.on, IT.bfloat16, IT.memory = True, bfloat16, memory
    IT.reset_peak_memory_stats()
    return IT


def switch_off() -> None:
    """The process has the CPU alone, as before."""
    torch.Generator = torch._C.Generator
    del IT.generators[1:]
    IT.on = False


@contextmanager
def device(bfloat16: bool = False, memory: int = 2**40) -> Iterator[_Device]:
    """The device, inside; see ``switch_on``."""
    try:
        yield switch_on(bfloat16, memory)
    finally:
        switch_off()


def everywhere() -> dict[str, str]:
    """Variables of the environment: a process that starts with them has the device, and so have all below it."""
    places = [str(ROOT / "tests/helpers/with_pretend"), str(ROOT)]
    return {"PYTHONPATH": os.pathsep.join(places)}
