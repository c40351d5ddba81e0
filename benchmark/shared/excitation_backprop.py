"""Excitation Backprop: the probability that each input unit is the winner behind a chosen output unit.

Idea: a walker starts at one unit and steps down the network, from layer to layer, always to a unit that excites the one
it stands on. Where the walkers end up is a map. The contrastive map subtracts the walkers of the dual unit, the one with
negated weights, so that what excites everything cancels.

    maps = class_maps(target, x, classes)            # (n, h, w): c-MWP of one logit an image
    P = contrast(W, a)                               # (k, n, d): c-MWP of k units with weights W over their inputs a
    maps = unit_maps(target, x, P, layer="fc1")      # (k, n, h, w), where a is the output of fc1

Theory (Zhang et al., Eqs. 5 and 10; numbers of the arXiv version): a_j >= 0 are the inputs of a linear layer with weights
w_ij, P_i the marginal winning probability (MWP) of its outputs:

    P_j = sum_i P(j | i) P_i,      P(j | i) = w+_ij a_j / Z_i,      Z_i = sum_j w+_ij a_j

Biases take no part. Convolution, dense layer, average pooling and upsampling are linear. A max pooling passes P to the
winner; ReLU, dropout (in eval mode) and reshaping pass it on; concatenation (fire modules) sends each part its own; a sum
(residual blocks) splits it in proportion to the positive parts of the summands. A batch norm is folded into the
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

from benchmark.api import Target

Backward = Callable[
    [Tensor], Tensor
]  # P over the output (k, n, ...) -> P over the input (k, n, ...)

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
        to: the layer down to which P is followed; there it is summed over channels and upsampled (bicubic, cut off at 0).
            Default: the first that pools, as in the authors' demo, else the first convolution, else the image. ``pixels``:
            the image itself, whose pixels excite in [0, 1], before they are normalised.

    Raises:
        TypeError: a module without a rule.
    """
    top, to = target.layers.index(layer), to or first_map(target)
    with torch.no_grad():
        to_image: Backward = lambda P: P
        if to == "pixels":  # down to the output of the first layer with weights, then through it
            bottom = min(
                next(i for i, m in enumerate(target.net) if next(m.parameters(), None) is not None),
                top,
            )
            to_image = trace(target.net[: bottom + 1], x / target.std)[1]
        else:
            bottom = min(target.layers.index(to), top)
        above = nn.Sequential(*target.net[bottom + 1 : top + 1], *([pool] if pool else []))
        P = to_image(
            trace(above, target.features(x, target.layers[bottom]))[1](P)
        )  # (k, n, c, u, v)
        maps = F.interpolate(P.sum(2), x.shape[-2:], mode="bicubic", align_corners=False)
    return maps.clamp(min=0)


def class_maps(
    target: Target, x: Tensor, classes: Tensor, to: str | None = None, contrastive: bool = True
) -> Tensor:
    """The 1-heatmap: (n, h, w), the (contrastive) MWP of the logit ``classes`` (n,) of each image; the contrast is taken at
    the inputs of the last layer with weights."""
    leaves = [
        (i, m)
        for i, layer in enumerate(target.net)
        for m in (layer if isinstance(layer, nn.Sequential) else [layer])
    ]
    t = max(k for k, (_, m) in enumerate(leaves) if isinstance(m, nn.Linear | nn.Conv2d))
    below = leaves[t][0] - 1  # the last layer that is whole below the one that holds these weights
    with torch.no_grad():
        a = target.features(x, target.layers[below])
        a, to_below = trace(nn.Sequential(*(m for i, m in leaves[:t] if i > below)), a)
        linear, rest = leaves[t][1], nn.Sequential(*(m for _, m in leaves[t + 1 :]))
        y, to_linear = trace(rest, linear(a))
        P = to_linear(
            F.one_hot(classes, y.shape[1]).to(y)[None]
        )  # (1, n, ...) over the outputs of the last weights
        P = to_below(_linear(linear, a, 1)(P) - (_linear(linear, a, -1)(P) if contrastive else 0))
    return unit_maps(target, x, P, target.layers[below], to=to)[0]


def contrast(W: Tensor, a: Tensor) -> Tensor:
    """c-MWP (k, n, d) over the inputs a (n, d) >= 0 of k units with weights W (k, d) or, for each image, (n, k, d).

    The MWP of the unit minus that of its dual, whose weights are negated (Sec. 3.4): each sums to 1, or to 0 where nothing
    excites it.
    """
    excites = W.expand(len(a), *W.shape[-2:]).movedim(1, 0) * a.clamp(min=0)  # (k, n, d)
    return _share(excites.clamp(min=0)) - _share((-excites).clamp(min=0))


def dense(W: Tensor, a: Tensor, P: Tensor) -> Tensor:
    """Eq. 10 for a dense layer a @ W: W (d, e), a (..., d) >= 0, P (k, ..., e) -> (k, ..., d)."""
    W = W.clamp(min=0)
    return a * (_over(P, a @ W) @ W.T)


def first_map(target: Target) -> str:
    """The first layer that pools over a neighbourhood, else the first that holds a convolution, else ``pixels``."""
    named = list(target.net.named_children())
    found = [name for name, m in named if isinstance(m, nn.MaxPool2d | nn.AvgPool2d)]
    found += [name for name, m in named if any(isinstance(part, nn.Conv2d) for part in m.modules())]
    return next(iter(found), "pixels")


# --------------------------------------------------------------------------------------------- one layer after the other


def trace(module: nn.Module, a: Tensor) -> tuple[Tensor, Backward]:
    """The output for inputs a (n, ...), and the step that takes MWP from it back to a. Steps may be called again."""
    if isinstance(module, nn.Sequential):
        steps = []
        for child in folded(module):
            a, step = trace(child, a)
            steps.append(step)
        return a, lambda P: _chain(reversed(steps), P)
    if isinstance(module, PASSED_ON):
        return module(a), lambda P: P
    if isinstance(module, RESHAPED):
        return module(a), lambda P: P.reshape(len(P), *a.shape)
    if isinstance(module, LINEAR):
        return module(a), _linear(module, a)
    if isinstance(module, SELECTED):
        z, pull = torch.func.vjp(module, a)
        return z, torch.vmap(lambda P: pull(P)[0])
    if isinstance(
        module, nn.BatchNorm1d
    ):  # not behind a convolution: unit by unit, where its factor is positive
        factor = module.weight / torch.sqrt(module.running_var + module.eps)
        return module(a), lambda P: P * ((factor > 0) & (a > 0))
    if {"squeeze", "expand1x1", "expand3x3"} <= module._modules.keys():
        return _fire(module, a)
    if {"residual", "shrink", "relu"} <= module._modules.keys():
        return _residual(module, a)
    raise TypeError(f"Excitation Backprop has no rule for {type(module).__name__}")


def folded(layers: Iterable[nn.Module]) -> Sequence[nn.Module]:
    """Modules with each batch norm that follows a convolution made part of it; the originals stay as they are."""
    out: list[nn.Module] = []
    for module in layers:
        if isinstance(module, nn.BatchNorm2d) and out and isinstance(out[-1], nn.Conv2d):
            out[-1] = fuse_conv_bn_eval(out[-1], module)
        else:
            out.append(module)
    return out


def _share(excitation: Tensor) -> Tensor:
    return _over(excitation, excitation.sum(-1, keepdim=True))


def _over(P: Tensor, Z: Tensor) -> Tensor:
    """P / Z, 0 where nothing excites (Z = 0)."""
    return torch.where(Z > 0, P / torch.where(Z > 0, Z, 1), 0)


def _chain(steps: Iterable[Backward], P: Tensor) -> Tensor:
    for step in steps:
        P = step(P)
    return P


def _linear(module: nn.Module, a: Tensor, sign: int = 1) -> Backward:
    """P_j = a_j sum_i w+_ij P_i / Z_i; ``sign`` -1: of the dual units, whose weights are -w."""
    a = a.clamp(min=0)
    if isinstance(module, nn.Conv2d | nn.Linear):
        w = (sign * module.weight).clamp(min=0)
        f = (
            (lambda z: F.linear(z, w))
            if isinstance(module, nn.Linear)
            else (lambda z: module._conv_forward(z, w, None))
        )
    else:
        f = module
    Z, pull = torch.func.vjp(f, a)
    return lambda P: a * torch.vmap(lambda p: pull(p)[0])(_over(P, Z))


def _fire(module: nn.Module, a: Tensor) -> tuple[Tensor, Backward]:
    """torchvision's fire module: squeeze, then two convolutions side by side."""
    squeezed, to_input = trace(nn.Sequential(module.squeeze, nn.ReLU()), a)
    branches = (
        trace(nn.Sequential(conv, nn.ReLU()), squeezed)
        for conv in (module.expand1x1, module.expand3x3)
    )
    (left, to_left), (right, to_right) = branches
    sizes = [left.shape[1], right.shape[1]]

    def step(P: Tensor) -> Tensor:
        P_left, P_right = P.split(sizes, dim=2)
        return to_input(to_left(P_left) + to_right(P_right))

    return torch.cat([left, right], 1), step


def _residual(module: nn.Module, a: Tensor) -> tuple[Tensor, Backward]:
    """The zoo's BasicBlock: ReLU(residual(a) + shrink(a), zero maps added)."""
    r, through_residual = trace(module.residual, a)
    s, through_shrink = trace(module.shrink, a)
    shortcut = F.pad(s, (0, 0, 0, 0, 0, module.added))
    excites, passes = r.clamp(min=0), shortcut.clamp(min=0)

    def step(P: Tensor) -> Tensor:
        P = _over(P, excites + passes)
        return through_residual(P * excites) + through_shrink((P * passes)[:, :, : s.shape[1]])

    return module.relu(r + shortcut), step
