"""Excitation Backprop: the probability that each input unit is the winner behind a chosen output unit.

Idea: a walker starts at one unit and steps down the network, from layer to layer, always to a unit that excites the one
it is at. Where the walkers end up is a map. The contrastive map subtracts the walkers of the dual unit, the one with
negated weights, so that what excites everything cancels.

    maps = class_maps(target, x, classes)            # (n, h, w): c-MWP of one logit per image
    P = contrast(W, a)                               # (k, n, d): c-MWP of k units with weights W over their inputs a
    maps = unit_maps(target, x, P, layer="fc1")      # (k, n, h, w), where a is the output of fc1

Theory (Zhang et al., Eqs. 5 and 10; numbers of the arXiv version): a_j >= 0 are the inputs of a linear layer with
weights w_ij, P_i the marginal winning probability (MWP) of its outputs:

    P_j = sum_i P(j | i) P_i,      P(j | i) = w+_ij a_j / Z_i,      Z_i = sum_j w+_ij a_j

Biases are ignored. Convolution, dense layer, average pooling and upsampling are linear. A max pooling passes P to the
winner; ReLU, dropout (in eval mode) and reshaping pass it on; concatenation (fire modules) sends each part its own; a
sum (residual blocks) splits it in proportion to the positive parts of the summands. A batch norm is folded into the
convolution before it. So sum_j P_j = sum_i P_i over all units with Z_i > 0: mass is lost only at a unit that nothing
excites. An input below 0 (a normalised pixel, an unrectified layer) excites nothing and counts as 0.

All of it is linear in P: signed P (contrastive maps) pass too, and k maps cost one forward pass and k backward passes.

Reference: Zhang, Lin, Brandt, Shen, Sclaroff. Top-down Neural Attention by Excitation Backprop. ECCV 2016,
arXiv:1608.00507. Sums split as in TorchRay (Fong, Patrick, Vedaldi 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval

from benchmark.api import NotApplicable, Target

# P over the output (k, n, ...) -> P over the input (k, n, ...)
Backward = Callable[[Tensor], Tensor]

PASSED_ON = (nn.ReLU, nn.Dropout, nn.Dropout2d, nn.Identity)
RESHAPED = (nn.Flatten, nn.Unflatten)
LINEAR = (nn.Conv2d, nn.Linear, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Upsample)
SELECTED = (nn.MaxPool2d, nn.AdaptiveMaxPool2d)


def unit_maps(
    target: Target,
    x: Tensor,
    P: Tensor,
    layer: str,
    pool: nn.Module | None = None,
    to: str | None = None,
) -> Tensor:
    """Maps (k, n, h, w) >= 0 at the images' resolution from k MWPs, contrastive or not, over the output of ``layer``.

    Args:
        x: (n, c, h, w) in [0, 1].
        P: (k, n, ...) over psi(x), or over pool(psi(x)).
        to: the layer down to which P is followed; there it is summed over channels and upsampled (bicubic, cut off at
            0). Default: the first that pools, as in the authors' demo, else the first convolution, else the image.
            ``pixels``: the image itself, whose pixels excite in [0, 1], before they are normalised.

    Raises:
        TypeError: a module without a rule.
    """
    to = to or first_map(target)
    top = target.layers.index(layer)
    with torch.no_grad():
        if (
            to == "pixels"
        ):  # down to the output of the first layer with weights, then through it
            bottom = min(_first_with_weights(target), top)
            _, to_image = trace(target.chain[: bottom + 1], x / target.std)
        else:
            bottom = min(target.layers.index(to), top)
            to_image = _unchanged
        above = [*target.chain[bottom + 1 : top + 1]]
        if pool is not None:
            above.append(pool)
        P = _taken_back(
            nn.Sequential(*above), target.features(x, target.layers[bottom]), P
        )
        P = to_image(P)  # (k, n, c, u, v)
        maps = F.interpolate(
            P.sum(2), x.shape[-2:], mode="bicubic", align_corners=False
        )
    return maps.clamp(min=0)


def _unchanged(P: Tensor) -> Tensor:
    return P


def _taken_back(module: nn.Module, a: Tensor, P: Tensor) -> Tensor:
    """MWP over the inputs a from P over the output of a module."""
    _, step = trace(module, a)
    return step(P)


def _first_with_weights(target: Target) -> int:
    for i, module in enumerate(target.chain):
        if next(module.parameters(), None) is not None:
            return i
    raise ValueError(f"{target.name} has no layer with weights")


def class_maps(
    target: Target,
    x: Tensor,
    classes: Tensor,
    to: str | None = None,
    contrastive: bool = True,
) -> Tensor:
    """The 1-heatmap: (n, h, w), the (contrastive) MWP of the logit ``classes`` (n,) of each image.

    The contrast is taken at the inputs of the last layer with weights.
    """
    leaves, layer_of = _leaves(target)
    last = max(
        k for k, leaf in enumerate(leaves) if isinstance(leaf, nn.Linear | nn.Conv2d)
    )
    start = layer_of.index(layer_of[last])
    below = target.layers[
        layer_of[last] - 1
    ]  # the last layer that lies wholly below these weights
    with torch.no_grad():
        a = target.features(x, below)
        a, to_below = trace(nn.Sequential(*leaves[start:last]), a)
        linear = leaves[last]
        y, to_linear = trace(nn.Sequential(*leaves[last + 1 :]), linear(a))
        logit = F.one_hot(classes, y.shape[1]).to(y)
        P = to_linear(logit[None])  # (1, n, ...) over the outputs of the last weights
        P = _linear(linear, a, 1)(P) - (_linear(linear, a, -1)(P) if contrastive else 0)
        P = to_below(P)
    return unit_maps(target, x, P, below, to=to)[0]


def _leaves(target: Target) -> tuple[list[nn.Module], list[int]]:
    """The modules of all layers in order, and the index of the layer that each belongs to."""
    leaves, layer_of = [], []
    for i, layer in enumerate(target.chain):
        parts = list(layer) if isinstance(layer, nn.Sequential) else [layer]
        leaves += parts
        layer_of += [i] * len(parts)
    return leaves, layer_of


def contrast(W: Tensor, a: Tensor) -> Tensor:
    """c-MWP (k, n, d) over the inputs a (n, d) >= 0 of k units with weights W (k, d) or, for each image, (n, k, d).

    The MWP of the unit minus that of its dual, whose weights are negated (Sec. 3.4): each sums to 1, or to 0 where
    nothing excites it.
    """
    weights = W.expand(len(a), *W.shape[-2:]).movedim(1, 0)  # (k, n, d)
    excites = weights * a.clamp(min=0)
    own = _share(excites.clamp(min=0))
    dual = _share((-excites).clamp(min=0))
    return own - dual


def dense(W: Tensor, a: Tensor, P: Tensor) -> Tensor:
    """Eq. 10 for a dense layer a @ W: W (d, e), a (..., d) >= 0, P (k, ..., e) -> (k, ..., d)."""
    W = W.clamp(min=0)
    Z = a @ W
    return a * (_over(P, Z) @ W.T)


def maps_of_units(
    target: Target, x: Tensor, units: Tensor, layer: str, to: str | None = None
) -> Tensor:
    """Maps (k, n, h, w) of single ``units`` (k,) of a layer: c-MWP, contrasted at the inputs of the layer's weights.

    Where it has none it is the plain MWP of the unit, or of the mean of a channel.

    Raises:
        TypeError: a module without a rule.
    """
    linear = linear_modules(target, layer)
    index = target.layers.index(layer)
    if linear and index:
        below = target.layers[index - 1]
        a = target.features(x, below)
        P = contrast(linear[-1].weight[units], a.flatten(1))
        P = P.view(len(units), *a.shape)
        return unit_maps(target, x, P, below, to=to)
    z, pool = target.features(x, layer), None
    if z.ndim == 4:
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    one_hot = torch.eye(z.shape[1], device=x.device)[units]
    P = one_hot[:, None].expand(-1, len(x), -1)  # (k, n, d)
    return unit_maps(target, x, P, layer, pool, to)


def first_map(target: Target) -> str:
    """The first layer that pools over a neighbourhood, else the first that holds a convolution, else ``pixels``."""
    named = list(target.chain.named_children())
    for name, module in named:
        if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            return name
    for name, module in named:
        if any(isinstance(part, nn.Conv2d) for part in module.modules()):
            return name
    return "pixels"


def first_dense(target: Target, x: Tensor) -> str:
    """The first dense layer with weights, else the last without positions, else the one that the target is explained
    at.

    Raises:
        NotApplicable: there is none.
    """
    names = [name for name, _ in target.chain.named_children()][:-1]
    dense = [name for name in names if target.features(x, name).ndim == 2]
    weighted = [name for name in dense if linear_modules(target, name)]
    if weighted:
        return weighted[0]
    if dense:
        return dense[-1]
    if target.layer is None:
        raise NotApplicable(
            f"{target.name} has no layer below its logits that has units"
        )
    return target.layer


def linear_modules(target: Target, layer: str) -> list[nn.Linear]:
    """The modules of a layer that are linear."""
    modules = target.chain.get_submodule(layer).modules()
    return [module for module in modules if isinstance(module, nn.Linear)]


# ---------------------------------------------------------------------------------------- one layer after the other


def trace(module: nn.Module, a: Tensor) -> tuple[Tensor, Backward]:
    """The output for inputs a (n, ...), and the step that takes MWP from it back to a. Steps may be called again.

    Raises:
        TypeError: a module without a rule.
    """
    if isinstance(module, nn.Sequential):
        return _chain(module, a)
    if isinstance(module, PASSED_ON):
        return module(a), _unchanged
    if isinstance(module, RESHAPED):
        return module(a), lambda P: P.reshape(len(P), *a.shape)
    if isinstance(module, LINEAR):
        return module(a), _linear(module, a)
    if isinstance(module, SELECTED):
        z, pull = torch.func.vjp(module, a)
        return z, torch.vmap(lambda P: pull(P)[0])
    if isinstance(module, nn.BatchNorm1d):
        # not behind a convolution: unit by unit, where its factor is positive
        factor = module.weight / torch.sqrt(module.running_var + module.eps)
        passes = (factor > 0) & (a > 0)
        return module(a), lambda P: P * passes
    if {"squeeze", "expand1x1", "expand3x3"} <= module._modules.keys():
        return _fire(module, a)
    if {"residual", "shrink", "relu"} <= module._modules.keys():
        return _residual(module, a)
    raise TypeError(f"Excitation Backprop has no rule for {type(module).__name__}")


def folded(layers: Iterable[nn.Module]) -> Sequence[nn.Module]:
    """Modules with each batch norm that follows a convolution made part of it; the originals stay as they are."""
    out: list[nn.Module] = []
    for module in layers:
        if (
            isinstance(module, nn.BatchNorm2d)
            and out
            and isinstance(out[-1], nn.Conv2d)
        ):
            out[-1] = fuse_conv_bn_eval(out[-1], module)
        else:
            out.append(module)
    return out


def _share(excitation: Tensor) -> Tensor:
    return _over(excitation, excitation.sum(-1, keepdim=True))


def _over(P: Tensor, Z: Tensor) -> Tensor:
    """P / Z, 0 where nothing excites (Z = 0)."""
    excited = Z > 0
    share = P / torch.where(excited, Z, 1)
    return torch.where(excited, share, 0)


def _chain(layers: nn.Sequential, a: Tensor) -> tuple[Tensor, Backward]:
    steps = []
    for layer in folded(layers):
        a, step = trace(layer, a)
        steps.append(step)

    def back(P: Tensor) -> Tensor:
        for step in reversed(steps):
            P = step(P)
        return P

    return a, back


def _linear(module: nn.Module, a: Tensor, sign: int = 1) -> Backward:
    """P_j = a_j sum_i w+_ij P_i / Z_i; ``sign`` -1: of the dual units, whose weights are -w."""
    a = a.clamp(min=0)
    Z, pull = torch.func.vjp(_excite(module, sign), a)

    def pull_one(P: Tensor) -> Tensor:
        return pull(P)[0]

    def step(P: Tensor) -> Tensor:
        return a * torch.vmap(pull_one)(_over(P, Z))

    return step


def _excite(module: nn.Module, sign: int) -> Callable[[Tensor], Tensor]:
    """The module with the positive part of its (signed) weights, without bias."""
    if not isinstance(module, nn.Conv2d | nn.Linear):
        return module
    w = (sign * module.weight).clamp(min=0)
    if isinstance(module, nn.Linear):
        return lambda z: F.linear(z, w)
    return lambda z: module._conv_forward(z, w, None)


def _fire(module: nn.Module, a: Tensor) -> tuple[Tensor, Backward]:
    """torchvision's fire module: squeeze, then two convolutions side by side."""
    squeezed, to_input = trace(nn.Sequential(module.squeeze, nn.ReLU()), a)
    left, to_left = trace(nn.Sequential(module.expand1x1, nn.ReLU()), squeezed)
    right, to_right = trace(nn.Sequential(module.expand3x3, nn.ReLU()), squeezed)
    sizes = [left.shape[1], right.shape[1]]

    def step(P: Tensor) -> Tensor:
        P_left, P_right = P.split(sizes, dim=2)
        return to_input(to_left(P_left) + to_right(P_right))

    return torch.cat([left, right], 1), step


def _residual(module: nn.Module, a: Tensor) -> tuple[Tensor, Backward]:
    """The zoo's BasicBlock: ReLU(residual(a) + shrink(a), zero maps added)."""
    r, to_residual = trace(module.residual, a)
    s, to_shrink = trace(module.shrink, a)
    kept = s.shape[1]
    shortcut = F.pad(s, (0, 0, 0, 0, 0, module.added))
    r_excites, s_excites = r.clamp(min=0), shortcut.clamp(min=0)

    def step(P: Tensor) -> Tensor:
        P = _over(P, r_excites + s_excites)
        back = to_residual(P * r_excites)
        P = P * s_excites
        return back + to_shrink(P[:, :, :kept])

    return module.relu(r + shortcut), step
