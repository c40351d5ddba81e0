"""Checks that the layers which a profile names exist in its networks, before any of them is trained or planned.

A layer is the value of a setting called ``layer``, ``layers``, ``dense`` or ``to``. Names do not depend on the images,
so the networks are built for images of any size on torch's device ``meta``, which has shapes and no numbers.
"""

from __future__ import annotations

import functools
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
from benchmark.zoo.own import OwnNetwork
from benchmark.zoo.recipe import Recipe

KEYS = ("layer", "layers", "dense", "to")
_SIDE = 5040  # a whole number of patches of any side up to 10, and of most others
_SHAPE, _CLASSES = (3, _SIDE, _SIDE), 2
_PIXELS = "pixels"  # what ``to`` may name instead of a layer


def check_layers(profile: Profile) -> None:
    """Check the layers that recipes, methods and experiments name.

    Raises:
        ProfileError: a layer that does not exist, in one line with its place in the profile.
    """
    try:
        for dataset, recipes in profile.zoo.items():
            for name, recipe in recipes.items():
                _check_recipe(recipe, "zoo", dataset, name)
        for dataset in profile.datasets:
            _check_methods(profile, dataset)
            for target in profile.zoo.get(dataset, {}):
                if f"{dataset}/{target}" in profile.explain.only:
                    _check_methods(profile, dataset, target)
        for paper, entries in profile.replicate.items():
            for i, entry in enumerate(entries):
                _check_experiment(profile, entry, "replicate", paper, i)
    except Misfit as error:
        raise profile_error(f"profile {profile.name}", error) from None


def _check_recipe(recipe: Recipe | OwnNetwork, *place: object) -> None:
    if isinstance(recipe, OwnNetwork):  # its layers are known when it is built
        return
    if not recipe.layer and not recipe.freeze_until:
        return
    net = _net(recipe)
    try:
        recipe.explained_layer(net)
        recipe.frozen_layers(net)
    except UnknownName as error:
        raise Misfit(error, *place) from None


def _check_methods(profile: Profile, dataset: str, target: str = "") -> None:
    """A method's layer must exist in one of the data set's networks at least, or in the one that is named."""
    recipes = profile.zoo.get(dataset, {})
    if target:
        recipes = {target: recipes[target]}
    explained = [recipe for recipe in recipes.values() if recipe.explain]
    has_own = any(isinstance(recipe, OwnNetwork) for recipe in explained)
    name = f"{dataset}/{target}" if target else dataset
    place = ("only", name) if name in profile.explain.only else ()
    for i, ref in enumerate(profile.explained(dataset, target).methods):
        if not ref.own or not explained or has_own:
            continue
        for key, layer in named(ref.settings):
            known = {name for recipe in explained for name in _names(recipe)}
            what = f"layer in the explained networks of {name}:"
            _exists(layer, known, what, "explain", *place, "methods", i, key)


def _check_experiment(profile: Profile, entry: Experiment, *place: object) -> None:
    """An experiment's layers must exist in each of its networks."""
    for settings in entry.swept():
        for key, layer in named(settings):
            for dataset, target, _ in profile.networks(entry):
                if target:
                    recipe = profile.zoo[dataset][target]
                    if isinstance(recipe, OwnNetwork):
                        continue
                    what = f"layer of {dataset}/{target}:"
                    _exists(layer, _names(recipe), what, *place, key)


def _names(recipe: Recipe) -> list[str]:
    """The layers of a network; where one inside its children is explained, those inside them too."""
    net = _net(recipe)
    inside = "." in (recipe.explained_layer(net) or "")
    return [
        name for name, _ in (net.named_modules() if inside else net.named_children())
    ]


def _net(recipe: Recipe) -> nn.Sequential:
    return _built(recipe.net, json.dumps(dict(recipe.options), sort_keys=True))


@functools.cache
def _built(name: str, options: str) -> nn.Sequential:
    """A network of ``NETS``, by its options as JSON; built once, as every data set of a profile asks for it."""
    with torch.device("meta"):
        layers = NETS[name].build(_SHAPE, _CLASSES, **json.loads(options))
        return nn.Sequential(OrderedDict(layers))


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
