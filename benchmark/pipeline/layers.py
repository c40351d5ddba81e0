"""Checks that the layers which a profile names exist in its networks, before any of them is trained or planned.

A layer is the value of a setting called ``layer``, ``layers``, ``dense`` or ``to``. Names do not depend on the images,
so the networks are built for images of any size on torch's device ``meta``, which has shapes and no numbers.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from benchmark.pipeline.profile import Experiment, Profile, profile_error
from benchmark.pipeline.settings import Misfit
from benchmark.utils.near_names import UnknownName, near
from benchmark.zoo.nets import NETS
from benchmark.zoo.recipe import Recipe

KEYS = ("layer", "layers", "dense", "to")
_SHAPE, _CLASSES = (3, 224, 224), 2
_PIXELS = "pixels"  # what ``to`` may name instead of a layer


def check_layers(profile: Profile) -> None:
    """Check the layers that recipes, methods and experiments name.

    Raises:
        ProfileError: a layer that does not exist, in one line with its place in the profile.
    """
    layers = _Layers(profile)
    try:
        for dataset, recipes in profile.zoo.items():
            for name, recipe in recipes.items():
                layers.check_recipe(recipe, "zoo", dataset, name)
        for dataset in profile.datasets:
            layers.check_methods(dataset)
        for paper, entries in profile.replicate.items():
            for i, entry in enumerate(entries):
                layers.check_experiment(entry, "replicate", paper, i)
    except Misfit as error:
        raise profile_error(f"profile {profile.name}", error) from None


class _Layers:
    """The layers of a profile's networks; networks of the same kind are built once."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.built: dict[str, nn.Sequential] = {}

    def _net(self, recipe: Recipe) -> nn.Sequential:
        key = json.dumps([recipe.net, dict(recipe.options)], sort_keys=True)
        if key not in self.built:
            build = NETS[recipe.net].build
            with torch.device("meta"):
                layers = build(_SHAPE, _CLASSES, **recipe.options)
                self.built[key] = nn.Sequential(OrderedDict(layers))
        return self.built[key]

    def _names(self, recipe: Recipe) -> list[str]:
        return [name for name, _ in self._net(recipe).named_children()]

    def check_recipe(self, recipe: Recipe, *place: object) -> None:
        if not recipe.layer and not recipe.freeze_until:
            return
        net = self._net(recipe)
        try:
            recipe.explained_layer(net)
            recipe.frozen_layers(net)
        except UnknownName as error:
            raise Misfit(error, *place) from None

    def check_methods(self, dataset: str) -> None:
        """A method's layer must exist in one of the data set's networks at least."""
        recipes = self.profile.zoo.get(dataset, {}).values()
        explained = [recipe for recipe in recipes if recipe.explain]
        own = dataset in self.profile.explain.only
        place = ("only", dataset) if own else ()
        for i, ref in enumerate(self.profile.explained(dataset).methods):
            if not ref.own or not explained:
                continue
            for key, layer in named(ref.settings):
                known = {name for recipe in explained for name in self._names(recipe)}
                what = f"layer in the explained networks of {dataset}:"
                _exists(layer, known, what, "explain", *place, "methods", i, key)

    def check_experiment(self, entry: Experiment, *place: object) -> None:
        """An experiment's layers must exist in each of its networks."""
        for settings in entry.swept():
            for key, layer in named(settings):
                for dataset, target, _ in self.profile.networks(entry):
                    if target:
                        recipe = self.profile.zoo[dataset][target]
                        what = f"layer of {dataset}/{target}:"
                        _exists(layer, self._names(recipe), what, *place, key)


def named(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(setting, layer) for each layer that settings name, also inside lists and mappings."""
    for key in KEYS:
        value = settings.get(key)
        if isinstance(value, Mapping):
            value = list(value.values())
        for layer in value if isinstance(value, list | tuple) else [value]:
            if isinstance(layer, str) and layer != _PIXELS:
                yield key, layer


def _exists(layer: str, known: Iterable[str], what: str, *place: object) -> None:
    if layer not in known:
        raise Misfit(near(layer, known, what), *place)
