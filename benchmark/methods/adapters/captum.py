"""Attributions of captum.

    captum:IntegratedGradients?n_steps=20      captum:Occlusion?sliding_window_shapes=(1,4,4)      captum:LRP
    captum:NoiseTunnel?attribution_method=Saliency&stdevs=0.1
    captum:Lime?feature_mask=6      captum:KernelShap?segments=50

Idea: any class of ``captum.attr`` that attributes the output of a class to pixels or to a layer. Options go to its
constructor or to ``attribute``, whichever has them; ``attribution_method`` is another class of captum, which shares the
options. Attributions are summed over the channels; those of a layer (default: the target's choice; another by
``layer=conv3``) are summed over its units and resized. A window given as one number, or as (h, w), spans all channels;
a baseline given as a number has that brightness.

Methods that perturb features take squares of ``feature_mask`` pixels, or about ``segments`` SLIC segments of each
image, as features. Lime and KernelShap, whose few samples say nothing about single pixels, do so by default: at most
25 squares, five to a side.

LRP gets the normalised pixels and the network behind the normalisation, as its relevance would otherwise be divided by
the standard deviations. It starts at the logit; its sum is the logit but for what biases take. captum has rules for a
few classes of modules, looked up by the exact class. Here other linear modules and those that only rearrange values
have its epsilon rule, and other activations pass relevance on.

Reference: Kokhlikyan et al. Captum: A unified and generic model interpretability library for PyTorch. 2020,
arXiv:2009.07896.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.api import Batch, NotApplicable, Target
from benchmark.methods import adapters
from benchmark.methods.plain_networks import Same
from benchmark.utils.near_names import UnknownName, pick

# What the adapter sets itself, and what it can set if it is not given.
_SET = {"forward_func", "model", "inputs", "target", "self"}
_DEFAULT = {"layer", "baselines"}
# What no text can say, and what changes the kind of the result.
_UNFIT = {
    "additional_forward_args",
    "custom_attribution_func",
    "device_ids",
    "draw_baseline_from_distrib",
    "grad_kwargs",
    "interpretable_model",
    "layer_mask",
    "perm_func",
    "perturb_func",
    "return_convergence_delta",
    "return_input_shape",
    "show_progress",
    "similarity_func",
    "verbose",
}
_BROKEN = {"LayerFeaturePermutation"}  # it looks for the class in the layer's output
_REQUIRED = {"attribution_method", "sliding_window_shapes"}  # text can say these
_SQUARES = 5  # to a side, the default of Lime and KernelShap
_WITH_SQUARES = {"KernelShap", "Lime"}
_LINEAR = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.dropout._DropoutNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._MaxPoolNd,
    nn.Flatten,
    nn.Identity,
    nn.Linear,
    nn.Unflatten,
    nn.Upsample,
    Same,
)
_ACTIVATIONS = (nn.ELU, nn.GELU, nn.LeakyReLU, nn.ReLU, nn.Sigmoid, nn.SiLU, nn.Tanh)


@dataclass(frozen=True)
class _Class:
    """A class of captum, with the parameters of its constructor and of ``attribute``."""

    name: str
    type: type
    make: Mapping[str, inspect.Parameter]
    call: Mapping[str, inspect.Parameter]

    @classmethod
    def of(cls, name: str, found: type) -> Self:
        make = adapters.options_of(found.__init__)
        call = adapters.options_of(found.attribute)
        return cls(name, found, make, call)

    @property
    def known(self) -> dict[str, inspect.Parameter]:
        return {**self.make, **self.call}

    @property
    def is_fit(self) -> bool:
        """Does it attribute the output of a class, given what text can say?"""
        explains = "target" in self.call or "attribution_method" in self.make
        optional = _SET | _DEFAULT | _REQUIRED
        others = [p for key, p in self.known.items() if key not in optional]
        needs_more = any(p.default is p.empty for p in others)
        return explains and not needs_more


def adapt(name: str, options: Mapping[str, Any]) -> Any:
    """The method of ``captum.attr.<name>``.

    Raises:
        UnknownName: captum is not installed, has no such attribution or option, or requires an option.
    """
    attr = adapters.library("captum.attr", "captum")
    custom_modules = adapters.library("captum.attr._utils.custom_modules", "captum")
    classes = _classes(attr)
    outer = inner = pick(name, classes, "attribution in captum")
    if "attribution_method" in outer.make and "attribution_method" in options:
        others = {k: v for k, v in classes.items() if k != name}
        inner = pick(
            options["attribution_method"], others, "attribution method in captum"
        )
    known = {**inner.known, **outer.known}
    is_lrp = issubclass(inner.type, attr.LRP)
    _check(name, options, known, is_lrp)

    @contextlib.contextmanager
    def opened(target: Target) -> Iterator[adapters.Maps]:
        if is_lrp:  # elsewhere additions are no modules, and get no rule
            target.chain  # noqa: B018
        network = adapters.Network(target, custom_modules.Addition_Module)
        model = network.net if is_lrp else network
        layer = None
        if "layer" in inner.make:
            chosen = adapters.spatial_layer(target, options.get("layer"))
            if target.fold(chosen) is not None:
                raise NotApplicable(f"captum's {name} has no tokens, as {chosen} gives")
            layer = (
                _output(network.net, chosen)
                if is_lrp
                else network.net.get_submodule(chosen)
            )

        def maps(batch: Batch) -> Tensor:
            given = _translated(options, batch, inner)
            given["layer"] = layer
            x = network.normalised(batch.x) if is_lrp else batch.x.clone()
            if is_lrp:
                _give_rules(model)
            made = inner.type(model, **_among(inner.make, given))
            if outer is not inner:
                made = outer.type(made)
            classes = target(batch.x).argmax(dim=1)
            given_here = _among({**inner.call, **outer.call}, given)
            out = made.attribute(x.requires_grad_(), target=classes, **given_here)
            if not isinstance(out, Tensor) or out.ndim != 4:
                raise NotApplicable(f"captum's {name} does not return a map per image")
            return adapters.resized(out.detach().sum(dim=1), batch)  # (n, h, w)

        with warnings.catch_warnings():
            # about the hooks it sets and the gradients it requires
            warnings.simplefilter("ignore")
            yield maps

    return adapters.method(_title(inner, outer, options), options, opened)


def remark(name: str, options: Mapping[str, Any]) -> str:
    """What a reader of its rows should know; empty if there is nothing."""
    if "DeepLift" not in f"{name} {options.get('attribution_method', '')}":
        return ""
    return (
        "on networks with max pooling captum's DeepLift need not add up to the "
        "difference of the logits"
    )


def _title(inner: _Class, outer: _Class, options: Mapping[str, Any]) -> str:
    if "segments" in options:
        return f"{outer.name} (captum, segments)"
    if "feature_mask" in options or inner.name in _WITH_SQUARES:
        return f"{outer.name} (captum, squares)"
    return f"{outer.name} (captum)"


def _classes(attr: ModuleType) -> dict[str, _Class]:
    """The classes of captum that attribute the output of a class, by name."""
    found = {}
    for name, value in vars(attr).items():
        is_class = inspect.isclass(value) and issubclass(value, attr.Attribution)
        if is_class and hasattr(value, "attribute") and name not in _BROKEN:
            each = _Class.of(name, value)
            if each.is_fit:
                found[name] = each
    return found


def _check(
    name: str,
    options: Mapping[str, Any],
    known: Mapping[str, inspect.Parameter],
    is_lrp: bool,
) -> None:
    """
    Raises:
        UnknownName: an option that does not exist, is missing, or does not fit.
    """
    taken = _SET | _UNFIT | (_DEFAULT - known.keys())
    if is_lrp:  # a layer's input is the output of the layer before it
        taken |= {"attribute_to_layer_input"}
    own = {"segments": None} if "feature_mask" in known else {}
    optional = {k: None if k in _DEFAULT else p for k, p in known.items()}
    adapters.check_options(options, {**optional, **own}, taken, f"captum:{name}")
    sizes = [options[key] for key in ("feature_mask", "segments") if key in options]
    if len(sizes) > 1 or not all(isinstance(k, int) and k > 0 for k in sizes):
        raise UnknownName(
            f"captum:{name} takes feature_mask=4 (squares of 4 pixels) or segments=50 (of each image)"
        )


def _among(
    parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any]
) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key in parameters}


def _translated(
    options: Mapping[str, Any], batch: Batch, inner: _Class
) -> dict[str, Any]:
    """The options as captum takes them for these images."""
    given = {k: v for k, v in options.items() if k != "attribution_method"}
    for key in {"sliding_window_shapes", "strides"} & given.keys():
        given[key] = _window(given[key], batch)
    if isinstance(given.get("stdevs"), int):
        given["stdevs"] = float(given["stdevs"])
    parameter = inner.call.get("baselines")
    if parameter and parameter.default is parameter.empty:
        given.setdefault("baselines", 0)  # black
    if isinstance(given.get("baselines"), int | float):
        given["baselines"] = torch.full_like(batch.x, given["baselines"])
    if "segments" in given:
        given["feature_mask"] = _segments(batch, given.pop("segments"))
    elif "feature_mask" in given or inner.name in _WITH_SQUARES:
        given["feature_mask"] = _squares(batch, given.get("feature_mask"))
    return given


def _window(value: Any, batch: Batch) -> Any:
    """4 or (4, 4) -> (c, 4, 4)."""
    if isinstance(value, int):
        value = (value, value)
    window = tuple(value)
    if len(window) == 2:
        return batch.x.shape[1], *window
    return window


def _squares(batch: Batch, side: int | None) -> Tensor:
    """(1, 1, h, w) int64: the number of each pixel's square; ``side`` in pixels."""
    h, w = batch.x.shape[-2:]
    if side is None:
        side = math.ceil(max(h, w) / _SQUARES)
    rows = torch.arange(h) // side
    columns = torch.arange(w) // side
    across = math.ceil(w / side)
    squares = rows[:, None] * across + columns
    return squares[None, None].to(batch.x.device)


def _segments(batch: Batch, n: int) -> Tensor:
    """(m, 1, h, w) int64: the number of each pixel's segment, about n in each of the m images; settings as ACE's."""
    from skimage.segmentation import slic

    images = batch.x.permute(0, 2, 3, 1).cpu().numpy()
    cut = functools.partial(
        slic, n_segments=n, compactness=20, sigma=1, start_label=0, channel_axis=-1
    )
    found = np.stack([cut(each) for each in images])
    return torch.from_numpy(found)[:, None].long().to(batch.x.device)


# --------------------------------------------------------------------------------------------- relevance


def _output(net: nn.Module, layer: str) -> nn.Module:
    """A module at the output of a layer: captum reads relevance at single modules only."""
    output = Same()
    net.set_submodule(layer, nn.Sequential(net.get_submodule(layer), output))
    return output


def _give_rules(net: nn.Module) -> None:
    """Give a rule to every module that captum has none for; it removes them after each use.

    Raises:
        NotApplicable: a module that no rule fits.
    """
    lrp = adapters.library("captum.attr._core.lrp", "captum")
    rules = adapters.library("captum.attr._utils.lrp_rules", "captum")
    known = {*lrp.SUPPORTED_LAYERS_WITH_RULES, *lrp.SUPPORTED_NON_LINEAR_LAYERS}
    for name, module in net.named_modules():
        if any(module.children()) or type(module) in known:
            continue
        if isinstance(module, _LINEAR):
            module.rule = rules.EpsilonRule()
        elif isinstance(module, _ACTIVATIONS):
            module.rule = rules.IdentityRule()
        else:
            kind = type(module).__name__
            raise NotApplicable(f"captum's LRP has no rule for {name}, a {kind}")
