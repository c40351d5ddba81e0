"""Class activation maps of pytorch-grad-cam.

    pytorch_grad_cam:EigenCAM      pytorch_grad_cam:GradCAM?layer=conv3

Idea: any class of ``pytorch_grad_cam`` that is a ``BaseCAM``, at one layer (default: the target's choice). The library
scales each map to [0, 1]. Options go to its constructor or to its call (``aug_smooth``, ``eigen_smooth``).

Reference: Gildenblat and contributors. PyTorch library for CAM methods. 2021, github.com/jacobgil/pytorch-grad-cam.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Batch, Target
from benchmark.methods import adapters

_TAKEN = {
    "model",
    "target_layers",
    "input_tensor",
    "targets",
    "reshape_transform",
    "self",
}


def adapt(name: str, options: Mapping[str, Any]) -> Any:
    """The method of ``pytorch_grad_cam.<name>``.

    Raises:
        UnknownName: pytorch-grad-cam is not installed, or has no such map or option.
    """
    cams = adapters.library("pytorch_grad_cam", "grad-cam")
    base = adapters.library("pytorch_grad_cam.base_cam", "grad-cam").BaseCAM
    targets = adapters.library("pytorch_grad_cam.utils.model_targets", "grad-cam")
    found = adapters.find(name, cams, base, "map in pytorch_grad_cam")
    make = adapters.options_of(found.__init__)
    call = adapters.options_of(base.__call__)
    adapters.refuse(
        options, make | call | {"layer": None}, _TAKEN, f"pytorch_grad_cam:{name}"
    )

    for_constructor = {k: v for k, v in options.items() if k in make}
    for_call = {k: v for k, v in options.items() if k in call}

    def maps(target: Target, batch: Batch, rng: Generator) -> Tensor:
        predicted = target(batch.x).argmax(dim=1).tolist()
        classes = [targets.ClassifierOutputTarget(c) for c in predicted]
        network = adapters.Network(target).eval()
        layers = [adapters.layer(target, options.get("layer"))]
        with found(network, layers, **for_constructor) as cam:
            x = batch.x.clone().requires_grad_()
            out = cam(x, classes, **for_call)  # (n, h, w)
        return torch.from_numpy(out)

    return adapters.method(f"{name} (pytorch-grad-cam)", options, maps)
