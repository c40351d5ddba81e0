"""Class activation maps of pytorch-grad-cam: ``pytorch_grad_cam:EigenCAM``, ``pytorch_grad_cam:GradCAM?layer=conv3``.

Idea: any class of ``pytorch_grad_cam`` that is a ``BaseCAM``, at one layer (default: the target's choice). It scales each
map to [0, 1], as always. Options go to its constructor or to its call (``aug_smooth``, ``eigen_smooth``).

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

_TAKEN = {"model", "target_layers", "input_tensor", "targets", "reshape_transform", "self"}


def adapt(name: str, options: Mapping[str, Any]) -> Any:
    """The method of ``pytorch_grad_cam.<name>``.

    Raises:
        UnknownName: pytorch-grad-cam is not installed, or has no such map or option.
    """
    cams = adapters.library("pytorch_grad_cam", "grad-cam")
    base = adapters.library("pytorch_grad_cam.base_cam", "grad-cam").BaseCAM
    targets = adapters.library("pytorch_grad_cam.utils.model_targets", "grad-cam")
    found = adapters.find(name, cams, base, "map in pytorch_grad_cam")
    make, call = adapters.options_of(found.__init__), adapters.options_of(base.__call__)
    adapters.refuse(options, make | call | {"layer": None}, _TAKEN, f"pytorch_grad_cam:{name}")

    def maps(target: Target, batch: Batch, rng: Generator) -> Tensor:
        classes = [targets.ClassifierOutputTarget(int(c)) for c in target(batch.x).argmax(dim=1)]
        given = {k: v for k, v in options.items() if k in make}
        with found(
            adapters.Network(target).eval(), [adapters.layer(target, options.get("layer"))], **given
        ) as cam:
            asked = {k: v for k, v in options.items() if k in call}
            return torch.from_numpy(
                cam(batch.x.clone().requires_grad_(), classes, **asked)
            )  # (n, h, w)

    return adapters.method(f"{name} (pytorch-grad-cam)", options, maps)
