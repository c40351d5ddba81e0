"""How a network is trained, as a profile writes it: a checked mapping.

Recipe.parse({"net": "vgg11", "options": {"width": 0.5}, "epochs": 8, "lr": 0.002, "schedule": "cosine"})
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import torch
from torch import Tensor, nn

from benchmark.utils.near_names import near
from benchmark.zoo.nets import NETS

# Adadelta's is Keras' default before TensorFlow 2.
DEFAULT_LR = {"adam": 0.001, "sgd": 0.1, "adadelta": 1.0}
SCHEDULES = {
    "none": (),
    "step": ("gamma", "every"),
    "milestones": ("gamma", "milestones"),
    "cosine": (),
    "one_cycle": (),
}  # schedule: the keys that it uses
WARM_UP = 0.25  # part of one_cycle's epochs in which the rate rises
NORMALISE = ("dataset", "imagenet", "none")
PRETRAINED = ("imagenet", "torchvision", "deepcompression")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights except the data and the seed; and where the network is explained."""

    net: str
    epochs: int
    options: Mapping[str, Any] = field(default_factory=dict)  # of the net
    batch: int = 128
    optimiser: str = "adam"  # adam, sgd, adadelta (rho 0.95)
    lr: float | None = None  # None: DEFAULT_LR
    momentum: float = 0.0  # sgd
    weight_decay: float = 0.0  # L2, added to the gradient
    # step: times gamma every `every` epochs; milestones: times gamma at each; cosine: to 0, batch by batch;
    # one_cycle (Smith 2018): from 0 to lr in the first quarter and back to 0, both linear, batch by batch
    schedule: str = "none"
    gamma: float = 0.1
    every: int = 1
    milestones: Sequence[int] = ()
    # fraction, measured on all training images every `check_every` epochs
    stop_at_train_accuracy: float | None = None
    check_every: int = 5
    flip: bool = False  # augmentation: mirrored left to right with probability 1/2
    shift: int = 0  # augmentation: moved by up to this many pixels each way, edge pixels repeated
    train_images: int | None = None  # use only the first N of the training split
    # dataset, imagenet, none; None: imagenet with pretrained weights, else dataset
    normalise: str | None = None
    pretrained: str | None = (
        None  # imagenet (whichever is available), torchvision, deepcompression
    )
    # This layer and those before it are not trained; their output is computed once.
    freeze_until: str | None = None
    layer: str | None = None  # explained; None: the net's own
    seeds: Sequence[int] = (0,)
    # False: the methods of the board do not explain it (a paper's own experiment uses it).
    explain: bool = True

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
        missing = [key for key in ("net", "epochs") if key not in mapping]
        if missing:
            raise ValueError(f"a recipe needs {' and '.join(missing)}")
        recipe = cls(**mapping)
        recipe._check_names()
        recipe._check_numbers()
        recipe._check_types()
        recipe._check_together(mapping)
        return recipe

    def _check_names(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise near(value, choices, f"{name} (of a recipe)")

    def _check_numbers(self) -> None:
        for name, kind, low, high in _NUMBERS:
            value = getattr(self, name)
            if value is None or _is_number(value, kind, low, high):
                continue
            message = (
                f"recipe: {name} must be a{kind} in [{low:g}, {high:g}], not {value!r}"
            )
            if isinstance(value, str):
                message += f"; YAML reads {value} as text, write it with a point"
            raise ValueError(message)

    def _check_types(self) -> None:
        for name in ("seeds", "milestones"):
            value = getattr(self, name)
            if not isinstance(value, list | tuple) or not all(map(_is_count, value)):
                raise ValueError(
                    f"recipe: {name} must be a list of integers, not {value!r}"
                )
        for name in ("flip", "explain"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ValueError(f"recipe: {name} must be true or false, not {value!r}")
        if not isinstance(self.options, Mapping):
            raise ValueError(f"recipe: options must be a mapping, not {self.options!r}")

    def _check_together(self, mapping: Mapping[str, Any]) -> None:
        """Values that exclude each other; ``mapping`` says which were given."""
        given = {"gamma", "every", "milestones"} & set(mapping)
        for name in given - set(SCHEDULES[self.schedule]):
            raise ValueError(f"recipe: schedule {self.schedule} does not use {name}")
        if self.schedule == "milestones" and not self.milestones:
            raise ValueError(
                "recipe: schedule milestones needs milestones, a list of epochs"
            )
        if self.momentum and self.optimiser != "sgd":
            raise ValueError(f"recipe: {self.optimiser} does not use momentum")
        if self.pretrained and not NETS[self.net].imagenet:
            raise ValueError(f"recipe: there are no pretrained weights for {self.net}")
        if self.freeze_until and (self.flip or self.shift):
            raise ValueError(
                "recipe: freeze_until computes features once, "
                "so flip and shift cannot be used with it"
            )

    def decisive(self) -> dict[str, Any]:
        """What the trained file depends on, as plain values: all but the seeds and whether it is on the board."""
        plain = dataclasses.asdict(self)
        plain |= {"options": dict(self.options), "milestones": list(self.milestones)}
        return {
            key: value
            for key, value in plain.items()
            if key not in ("seeds", "explain")
        }

    def explained_layer(self, net: nn.Sequential) -> str | None:
        """The layer that is explained, by its dotted name: the recipe's, or else the net's own.

        Raises:
            UnknownName: the network does not have it.
        """
        names = [name for name, _ in net.named_children()]
        layer = self.layer or NETS[self.net].layer
        if layer is not None and layer not in dict(net.named_modules()):
            raise near(layer, names, f"layer of {self.net}")
        return layer

    def frozen_layers(self, net: nn.Sequential) -> int:
        """How many of the network's first layers are not trained.

        Raises:
            UnknownName: ``freeze_until`` names no layer, or the last one.
        """
        if self.freeze_until is None:
            return 0
        names = [name for name, _ in net.named_children()]
        if self.freeze_until not in names[:-1]:
            raise near(self.freeze_until, names[:-1], f"layer to freeze in {self.net}")
        return names.index(self.freeze_until) + 1

    def rate(self, epoch: float) -> float:
        """The learning rate after ``epoch`` epochs; a fraction counts the batches of the current one."""
        lr = DEFAULT_LR[self.optimiser] if self.lr is None else self.lr
        if self.schedule == "step":
            return lr * self.gamma ** (int(epoch) // self.every)
        if self.schedule == "milestones":
            passed = sum(int(epoch) >= m for m in self.milestones)
            return lr * self.gamma**passed
        t = epoch / max(1, self.epochs)
        if self.schedule == "cosine":
            return lr * 0.5 * (1 + math.cos(math.pi * t))
        if self.schedule == "one_cycle":
            return lr * min(t / WARM_UP, (1 - t) / (1 - WARM_UP))
        return lr

    def optimiser_for(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        """The optimiser, at the learning rate of the start."""
        settings = {"lr": self.rate(0), "weight_decay": self.weight_decay}
        if self.optimiser == "adam":
            return torch.optim.Adam(parameters, fused=True, **settings)
        if self.optimiser == "sgd":
            return torch.optim.SGD(
                parameters, momentum=self.momentum, fused=True, **settings
            )
        # Keras' rho and epsilon
        return torch.optim.Adadelta(parameters, rho=0.95, eps=1e-7, **settings)


def mapping_of(recipe: Any) -> dict[str, Any]:
    """The mapping that ``parse`` of its class takes: without the defaults, because some exclude other keys."""
    mapping = {}
    for each in fields(recipe):
        value = getattr(recipe, each.name)
        if value != each.default:
            mapping[each.name] = value
    return mapping | {"options": dict(recipe.options)}


_CHOICES: dict[str, Iterable[str]] = {
    "net": NETS,
    "optimiser": DEFAULT_LR,
    "schedule": SCHEDULES,
    "normalise": NORMALISE,
    "pretrained": PRETRAINED,
}
_NUMBERS = (  # name, kind (after "a"), smallest, largest
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
    """Is it an integer or, if ``kind`` is not "n integer", any number in [low, high]?"""
    types = int if kind == "n integer" else (int, float)
    if not isinstance(value, types) or isinstance(value, bool):
        return False
    return low <= value <= high


def _is_count(value: Any) -> bool:
    """Is it a seed or a number of epochs?"""
    return _is_number(value, "n integer", 0, 2**31)
