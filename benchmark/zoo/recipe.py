"""How a network is trained, as a profile writes it: a checked mapping.

Recipe.parse({"net": "vgg11", "options": {"width": 0.5}, "epochs": 8, "lr": 0.002, "schedule": "cosine"})
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import torch
from torch import Tensor

from benchmark.utils.near_names import near
from benchmark.zoo.nets import NETS

DEFAULT_LR = {
    "adam": 0.001,
    "sgd": 0.1,
    "adadelta": 1.0,
}  # adadelta: Keras' default before TensorFlow 2
SCHEDULES = {
    "none": (),
    "step": ("gamma", "every"),
    "milestones": ("gamma", "milestones"),
    "cosine": (),
}
NORMALISE = ("dataset", "imagenet", "none")
PRETRAINED = ("imagenet", "torchvision", "deepcompression")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, but for the data and the seed; and where the network is explained."""

    net: str
    epochs: int
    options: Mapping[str, Any] = field(default_factory=dict)  # of the net
    batch: int = 128
    optimiser: str = "adam"  # adam, sgd, adadelta (rho .95)
    lr: float | None = None  # None: DEFAULT_LR
    momentum: float = 0.0  # sgd
    weight_decay: float = 0.0  # L2, added to the gradient
    schedule: str = "none"  # step: x gamma every `every` epochs; milestones: x gamma at each; cosine: to 0, each batch
    gamma: float = 0.1
    every: int = 1
    milestones: Sequence[int] = ()
    stop_at_train_accuracy: float | None = (
        None  # fraction; measured on all training images each `check_every` epochs
    )
    check_every: int = 5
    flip: bool = False  # augmentation: mirrored left to right with probability 1/2
    shift: int = 0  # augmentation: moved by up to so many pixels each way, edge pixels repeated
    train_images: int | None = None  # only the first so many of the training split
    normalise: str | None = (
        None  # dataset, imagenet, none; None: imagenet with pretrained weights, else dataset
    )
    pretrained: str | None = None  # imagenet (whichever is there), torchvision, deepcompression
    freeze_until: str | None = (
        None  # this layer and those before it stay as they are; their output is computed once
    )
    layer: str | None = None  # explained; None: the net's own
    seeds: Sequence[int] = (0,)
    explain: bool = (
        True  # False: not explained by the methods of the board (a paper's own experiment uses it)
    )

    @classmethod
    def parse(cls, mapping: Mapping[str, Any]) -> Self:
        """The recipe of a mapping.

        Raises:
            UnknownName: an unknown key, net, optimiser ...; the message suggests near ones.
            ValueError: a value that is missing, of the wrong type or out of range.
        """
        known = {f.name for f in fields(cls)}
        for key in mapping:
            if key not in known:
                raise near(key, known, "key of a recipe")
        if missing := [key for key in ("net", "epochs") if key not in mapping]:
            raise ValueError(f"a recipe needs {' and '.join(missing)}")
        recipe = cls(**mapping)
        for name, choices in (
            ("net", NETS),
            ("optimiser", DEFAULT_LR),
            ("schedule", SCHEDULES),
            ("normalise", NORMALISE),
            ("pretrained", PRETRAINED),
        ):
            value = getattr(recipe, name)
            if value is not None and value not in choices:
                raise near(value, choices, f"{name} (of a recipe)")
        for name, kind, low, high in _NUMBERS:
            value = getattr(recipe, name)
            if value is not None and not _is_number(value, kind, low, high):
                hint = (
                    f"; YAML reads {value} as text, write it with a point"
                    if isinstance(value, str)
                    else ""
                )
                raise ValueError(
                    f"recipe: {name} must be a{kind} in [{low:g}, {high:g}], not {value!r}{hint}"
                )
        for name in ("seeds", "milestones"):
            value = getattr(recipe, name)
            if not isinstance(value, list | tuple) or not all(
                _is_number(v, "n integer", 0, 2**31) for v in value
            ):
                raise ValueError(f"recipe: {name} must be a list of integers, not {value!r}")
        for name in ("flip", "explain"):
            if not isinstance(getattr(recipe, name), bool):
                raise ValueError(
                    f"recipe: {name} must be true or false, not {getattr(recipe, name)!r}"
                )
        if not isinstance(recipe.options, Mapping):
            raise ValueError(f"recipe: options must be a mapping, not {recipe.options!r}")
        for name in {"gamma", "every", "milestones"} & set(mapping) - set(
            SCHEDULES[recipe.schedule]
        ):
            raise ValueError(f"recipe: schedule {recipe.schedule} does not use {name}")
        if recipe.schedule == "milestones" and not recipe.milestones:
            raise ValueError("recipe: schedule milestones needs milestones, a list of epochs")
        if recipe.momentum and recipe.optimiser != "sgd":
            raise ValueError(f"recipe: {recipe.optimiser} does not use momentum")
        if recipe.pretrained and not NETS[recipe.net].imagenet:
            raise ValueError(f"recipe: there are no pretrained weights for {recipe.net}")
        if recipe.freeze_until and (recipe.flip or recipe.shift):
            raise ValueError(
                "recipe: freeze_until computes features once, so flip and shift cannot be used with it"
            )
        return recipe

    def decisive(self) -> dict[str, Any]:
        """What the trained file depends on, as plain values: all but the seeds and whether it is put on the board."""
        plain = dataclasses.asdict(self) | {
            "options": dict(self.options),
            "milestones": list(self.milestones),
        }
        return {key: value for key, value in plain.items() if key not in ("seeds", "explain")}

    def rate(self, epoch: float) -> float:
        """The learning rate after ``epoch`` epochs (a fraction counts the batches of the one that runs)."""
        lr = DEFAULT_LR[self.optimiser] if self.lr is None else self.lr
        if self.schedule == "step":
            return lr * self.gamma ** (int(epoch) // self.every)
        if self.schedule == "milestones":
            return lr * self.gamma ** sum(int(epoch) >= m for m in self.milestones)
        if self.schedule == "cosine":
            return lr * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
        return lr

    def optimiser_for(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        settings = {"lr": self.rate(0), "weight_decay": self.weight_decay}
        if self.optimiser == "adam":
            return torch.optim.Adam(parameters, fused=True, **settings)
        if self.optimiser == "sgd":
            return torch.optim.SGD(parameters, momentum=self.momentum, fused=True, **settings)
        return torch.optim.Adadelta(
            parameters, rho=0.95, eps=1e-7, **settings
        )  # Keras' rho and epsilon


def mapping_of(recipe: Recipe) -> dict[str, Any]:
    """The mapping that ``Recipe.parse`` takes: without the defaults, for some may not stand beside others."""
    given = {
        f.name: getattr(recipe, f.name)
        for f in fields(recipe)
        if getattr(recipe, f.name) != f.default
    }
    return given | {"options": dict(recipe.options)}


_NUMBERS = (  # name, kind, smallest, largest
    ("epochs", "n integer", 0, 100_000),
    ("batch", "n integer", 2, 1_000_000),
    ("lr", " number", 0, 1000),
    ("momentum", " number", 0, 1),
    ("weight_decay", " number", 0, 1000),
    ("gamma", " number", 0, 1),
    ("every", "n integer", 1, 100_000),
    ("stop_at_train_accuracy", " number", 0, 1),
    ("check_every", "n integer", 1, 100_000),
    ("shift", "n integer", 0, 1000),
    ("train_images", "n integer", 2, 10**9),
)


def _is_number(value: Any, kind: str, low: float, high: float) -> bool:
    types = int if kind == "n integer" else (int, float)
    return isinstance(value, types) and not isinstance(value, bool) and low <= value <= high
