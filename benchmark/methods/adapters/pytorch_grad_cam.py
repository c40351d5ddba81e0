"""Class activation maps of pytorch-grad-cam.

    pytorch_grad_cam:LayerCAM      pytorch_grad_cam:GradCAM?layer=conv3      pytorch_grad_cam:EigenCAM?orient=false
    pytorch_grad_cam:FinerCAM?base_method=LayerCAM

Idea: any class of ``pytorch_grad_cam`` that makes maps of target layers, at one layer (default: the target's choice).
The library scales each map to [0, 1]. Options go to its constructor or to its call (``aug_smooth``, ``eigen_smooth``);
``base_method`` is another class of the library.

Theory: EigenCAM, EigenGradCAM and ``eigen_smooth`` project (weighted) activations on their first principal component,
whose sign is arbitrary: the library takes the one that LAPACK returns, so a map may show what the layer does not
respond to, and another machine may return the other map. ``orient`` (default: true) turns each projection in the
direction of the sum of the (weighted) activations over the channels; ``orient=false`` is the library's own map.

Reference: Gildenblat and contributors. PyTorch library for CAM methods. 2021, github.com/jacobgil/pytorch-grad-cam.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.api import Array, Batch, Target
from benchmark.methods import adapters
from benchmark.utils.near_names import pick

# Not for the user to set: the adapter does, or text cannot say it.
_TAKEN = {
    "self",
    "model",
    "target_layers",
    "input_tensor",
    "targets",
    "target_idx",
    "reshape_transform",
    "ablation_layer",
    "tta_transforms",
}
# These take ``eigen_smooth``, but do not smooth by it.
_NOT_SMOOTHED = {"FEM", "KPCA_CAM", "RefineCAM", "SegEigenCAM"}
_EIGEN = {"EigenCAM", "EigenGradCAM"}
_PROJECTION = "get_2d_projection"  # the library's function


def adapt(name: str, options: Mapping[str, Any]) -> Any:
    """The method of ``pytorch_grad_cam.<name>``.

    Raises:
        UnknownName: pytorch-grad-cam is not installed, or has no such map or option.
    """
    library = adapters.library("pytorch_grad_cam", "grad-cam")
    targets = adapters.library("pytorch_grad_cam.utils.model_targets", "grad-cam")
    classes = _classes(library)
    found = pick(name, classes, "map in pytorch_grad_cam")
    make = adapters.options_of(found.__init__)
    call = adapters.options_of(found.__call__, found.forward)
    own = {"layer": None}
    if _projects(name, options):
        own["orient"] = None
    taken = _TAKEN | ({"eigen_smooth"} if name in _NOT_SMOOTHED else set())
    what = f"pytorch_grad_cam:{name}"
    adapters.check_options(options, make | call | own, taken, what)
    for_constructor = {k: v for k, v in options.items() if k in make}
    for_call = {k: v for k, v in options.items() if k in call}
    if "base_method" in options:
        base = pick(options["base_method"], classes, "map in pytorch_grad_cam")
        for_constructor["base_method"] = base

    @contextlib.contextmanager
    def opened(target: Target) -> Iterator[adapters.Maps]:
        # SESS cuts pixels off the graph, ShapleyCAM differentiates the gradient.
        network = adapters.Network(target).requires_grad_()
        layers = []
        if name != "FullGrad":  # it takes every layer with biases
            chosen = adapters.spatial_layer(target, options.get("layer"))
            layers = [network.net.get_submodule(chosen)]
            if "reshape_transform" in make:
                for_constructor["reshape_transform"] = _maps_of(target, chosen)
        cam = found(network, layers, **for_constructor)

        def maps(batch: Batch) -> Tensor:
            predicted = target(batch.x).argmax(dim=1).tolist()
            wanted = [targets.ClassifierOutputTarget(c) for c in predicted]
            if name == "FinerCAM":  # it compares the predicted class with the next
                wanted = None
            x = batch.x.clone().requires_grad_()
            # The library prints progress bars.
            silence = io.StringIO()
            with (
                contextlib.redirect_stdout(silence),
                contextlib.redirect_stderr(silence),
            ):
                return torch.from_numpy(cam(x, wanted, **for_call))  # (n, h, w)

        try:  # not ``with cam``, which swallows every IndexError
            with oriented() if _orients(name, options) else contextlib.nullcontext():
                yield maps
        finally:
            _release(cam)

    return adapters.method(_title(name, options), options, opened)


def _maps_of(target: Target, layer: str) -> Callable[[Tensor], Tensor] | None:
    """What turns tokens of a layer into maps (n, d, h, w); None where it gives maps."""
    fold = target.fold(layer)
    return None if fold is None else lambda z: fold(z).as_subclass(Tensor)


def remark(name: str, options: Mapping[str, Any]) -> str:
    """What a reader of its rows should know; empty if there is nothing."""
    if not _projects(name, options):
        return ""
    if _orients(name, options):
        return (
            "the library leaves the sign of its projections to LAPACK; here each points "
            "in the direction of the layer's activations (orient=false: as the library)"
        )
    return "the sign of its projections is the one that LAPACK returns, on this machine"


def _title(name: str, options: Mapping[str, Any]) -> str:
    if not _projects(name, options):
        return f"{name} (pytorch-grad-cam)"
    sign = "oriented" if _orients(name, options) else "sign of LAPACK"
    return f"{name} (pytorch-grad-cam, {sign})"


def _projects(name: str, options: Mapping[str, Any]) -> bool:
    """Does it project on a principal component?"""
    is_eigen = not _EIGEN.isdisjoint({name, options.get("base_method")})
    return is_eigen or bool(options.get("eigen_smooth"))


def _orients(name: str, options: Mapping[str, Any]) -> bool:
    return _projects(name, options) and bool(options.get("orient", True))


@contextlib.contextmanager
def oriented() -> Iterator[None]:
    """Meanwhile the library's projections point in the direction of the activations that they are made from."""
    project = adapters.library(
        "pytorch_grad_cam.utils.svd_on_activations", "grad-cam"
    ).get_2d_projection

    def in_their_direction(activations: Array) -> Array:
        """(n, c, u, v) -> (n, u, v)"""
        maps = project(activations)
        total = np.nan_to_num(activations).sum(axis=1)
        along = (maps * total).sum(axis=(1, 2))  # each map has mean 0
        return np.where(along[:, None, None] < 0, -maps, maps)

    with contextlib.ExitStack() as restore:
        for name, module in list(sys.modules.items()):
            is_library = name.startswith("pytorch_grad_cam.")
            if is_library and getattr(module, _PROJECTION, None) is project:
                restore.callback(setattr, module, _PROJECTION, project)
                setattr(module, _PROJECTION, in_their_direction)
        yield


def _classes(library: ModuleType) -> dict[str, type]:
    """The classes that make maps of ``targets`` at ``target_layers``, by name."""
    found = {}
    for name, value in vars(library).items():
        if inspect.isclass(value) and hasattr(value, "forward"):
            makes = inspect.signature(value.__init__).parameters
            takes = inspect.signature(value.forward).parameters
            if "target_layers" in makes and "targets" in takes:
                found[name] = value
    return found


def _release(cam: Any) -> None:
    """Remove the hooks of a map and of the maps within it.

    What they recorded is dropped first: the library would detach it in place, which fails for views.
    """
    inner = [getattr(cam, "base_cam", None), *getattr(cam, "base_cam_per_layer", ())]
    for each in (cam, *inner):
        recorded = getattr(each, "activations_and_grads", None)
        if recorded is not None:
            recorded.activations, recorded.gradients = [], []
            recorded.release()
