"""Excitation Backprop through any forward pass: what each operation does to the marginal winning probability (MWP).

    with Excitation():
        y = net(x)
    (P,) = torch.autograd.grad(y, x, P)     # not the gradient: MWP over x from P over y

Idea: ``Excitation`` runs an operation as it is and changes what its derivative is, so that the walkers go the way that
derivatives go, whatever the network's code looks like. Modules, functions and operators are the same to it.

Theory (Zhang et al., Eq. 10; Z as there, a+ the positive part of a). Any operation with weights w_ij is given as

    z_i + (u_i - u_i) / Z_i,   u_i = sum_j w+_ij a+_j t_j,   Z_i = sum_j w+_ij a+_j

with t the tensor that came in; the second u, Z, a and z are constants. Its value is z, its derivative that of Eq. 10

    dP_j = a+_j sum_i w+_ij P_i / Z_i

A sum has the weights 1, a difference 1 and -1. An operation on single values (ReLU) passes P on; one that moves values
or picks them (reshaping, concatenation, max pooling) keeps its own derivative. A batch norm behind a convolution or a
dense layer is folded into it; elsewhere, as any product with a constant, it passes P on where its factor is positive.
What has no weights of its own, because both factors depend on the image (attention, gates), has no rule.

Reference: Zhang, Lin, Brandt, Shen, Sclaroff. Top-down Neural Attention by Excitation Backprop. ECCV 2016,
arXiv:1608.00507. Sums split as in TorchRay (Fong, Patrick, Vedaldi 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from benchmark.api import NotApplicable

# On single values: what comes out is 0 or has the sign of what came in.
PASSED_ON = {
    *{
        "relu",
        "relu6",
        "hardtanh",
        "leaky_relu",
        "prelu",
        "elu",
        "celu",
        "selu",
        "gelu",
    },
    *{"silu", "mish", "hardswish", "tanh", "softsign", "hardshrink", "softshrink"},
    *{"clamp", "clamp_min", "clip", "dropout", "dropout1d", "dropout2d", "dropout3d"},
    *{"alpha_dropout", "feature_dropout", "feature_alpha_dropout"},
}
# They move values or pick them: their own derivative does with P what they do with values.
MOVED = {
    *{"get", "getitem", "view", "view_as", "reshape", "reshape_as", "flatten"},
    *{"unflatten", "permute", "transpose", "movedim", "moveaxis", "swapaxes"},
    *{"swapdims", "t", "squeeze", "unsqueeze", "contiguous", "clone", "to", "float"},
    *{"type", "type_as", "expand", "expand_as", "broadcast_to", "repeat", "tile"},
    *{"repeat_interleave", "cat", "concat", "concatenate", "stack", "hstack", "vstack"},
    *{"dstack", "chunk", "split", "tensor_split", "unbind", "narrow", "select"},
    *{"index_select", "gather", "take_along_dim", "flip", "roll", "rot90", "pad"},
    *{"pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "unfold"},
    *{"requires_grad", "as_subclass", "amax", "max", "maximum"},
    *{"max_pool1d", "max_pool2d", "max_pool3d"},
    *{"adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"},
}
AVERAGED = {
    *{"avg_pool1d", "avg_pool2d", "avg_pool3d", "mean", "sum", "interpolate"},
    *{"adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"},
}
WEIGHTED = {"linear", "conv1d", "conv2d", "conv3d"}
TRANSPOSED = {"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
SUMS = {"add": (1, 1), "sub": (1, -1), "rsub": (-1, 1), "subtract": (1, -1)}
_OPERATORS = {
    **{"iadd": "add", "radd": "add", "isub": "sub"},
    **{"rmul": "mul", "imul": "mul", "multiply": "mul"},
    **{"truediv": "div", "itruediv": "div", "divide": "div", "true_divide": "div"},
}
_WORDS = {
    "mul": "the product of two values of the image (a gate)",
    "matmul": "the product of two matrices of the image (attention)",
    "scaled_dot_product_attention": "attention",
    "multi_head_attention_forward": "attention",
    "layer_norm": "layer norm",
    "group_norm": "group norm",
    "instance_norm": "instance norm",
    "setitem": "values written into a tensor",
}

Linear = Callable[[Tensor], Tensor]  # weights w+ without bias, on a tensor


@dataclass(frozen=True)
class Call:
    """An operation and what it is given."""

    name: str
    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    @property
    def a(self) -> Tensor:
        """Its first input."""
        return self.args[0] if self.args else self.kwargs["input"]

    @property
    def given(self) -> list[Any]:
        return [*self.args, *self.kwargs.values()]

    def on(self, t: Tensor, *others: Any) -> Tensor:
        """The operation on t (and others) in place of its first inputs."""
        first = 1 + len(others)
        names = ("input", "weight", "bias")[:first]
        rest = dict(self.kwargs)
        for name in names:
            rest.pop(name, None)
        return self.function(t, *others, *self.args[first:], **rest)

    def with_weights(self, factor: Tensor | None = None) -> Linear:
        """A dense layer or convolution with w+ and without bias, or with (factor w)+, a factor for each output."""
        w = self.args[1] if len(self.args) > 1 else self.kwargs["weight"]
        if depends([w]):
            raise no_rule("weights that depend on the image")
        if factor is not None:
            w = w * factor.view(-1, *[1] * (w.ndim - 1))
        w = w.clamp(min=0)
        return lambda t: self.on(t, w, None)


class Excitation(TorchFunctionMode):
    """Within it the derivative of what a network gives is its MWP.

    Raises:
        NoRule: an operation that has none.
    """

    def __init__(self) -> None:
        super().__init__()
        # what the last dense layer or convolution gave, which a batch norm may follow
        self._last: tuple[Tensor, Call] | None = None

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = getattr(function, "__name__", "").strip("_")
        call = Call(_OPERATORS.get(name, name), function, args, kwargs or {})
        if not torch.is_grad_enabled() or not depends(call.given):
            return function(*args, **call.kwargs)
        if call.name in MOVED:
            return function(*args, **call.kwargs)
        return self._ruled(call)

    def _ruled(self, call: Call) -> Any:
        """The value of an operation, with the derivative of its rule."""
        held = {key: _held(value) for key, value in call.kwargs.items()}
        z = call.function(*map(_held, call.args), **held)
        is_value = isinstance(z, Tensor) and z.is_floating_point()
        if call.name == "detach" or not (is_value or _holds_values(z)):
            return z  # a constant, a shape, an index
        if call.name == "batch_norm":
            return z + self._normed(*call.args, **call.kwargs)
        rule = RULES.get(call.name)
        if rule is None or not is_value:
            raise no_rule(call.name)
        z = z + rule(call)
        if call.name in WEIGHTED:
            self._last = z, call
        return z

    def _normed(
        self,
        a: Tensor,
        mean: Tensor,
        var: Tensor,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """A batch norm: part of the dense layer or convolution before it, if there is one."""
        factor = torch.rsqrt(var + eps)
        factor = factor if weight is None else factor * weight
        if self._last is not None and self._last[0] is a:
            _, before = self._last
            return eq10(before.a, before.with_weights(factor))
        factor = factor.clamp(min=0).view(1, -1, *[1] * (a.ndim - 2))
        return eq10(a, lambda t: t * factor)


def depends(values: Sequence[Any]) -> bool:
    """Does any of these values, or of those in lists of them, depend on the image?"""
    for value in values:
        if isinstance(value, Tensor) and value.requires_grad:
            return True
        if isinstance(value, list | tuple) and depends(value):
            return True
    return False


class NoRule(NotApplicable):
    """An operation that Excitation Backprop cannot take P through.

    It is no TypeError: of those, an operator (``a * b``) makes "unsupported operand type(s)".
    """


def no_rule(name: str) -> NoRule:
    """The error of an operation without a rule."""
    return NoRule(f"Excitation Backprop has no rule for {_WORDS.get(name, name)}")


def eq10(a: Tensor, linear: Linear) -> Tensor:
    """0, with the derivative of Eq. 10 for the inputs a of weights w+."""
    excites = a.detach().clamp(min=0)
    Z = linear(excites)
    return _over(linear(excites * _walker(a)), Z)


def _walker(a: Tensor) -> Tensor:
    """0, with the derivative 1."""
    return a - a.detach()


def _over(u: Tensor, Z: Tensor) -> Tensor:
    """u / Z, 0 where nothing excites (Z = 0)."""
    excited = Z > 0
    return torch.where(excited, u / torch.where(excited, Z, 1), 0)


def _held(value: Any) -> Any:
    """A copy without derivatives, which an operation may change in place."""
    if isinstance(value, list | tuple):
        return type(value)(map(_held, value))
    depends = isinstance(value, Tensor) and value.requires_grad
    return value.detach().clone() if depends else value


def _holds_values(z: Any) -> bool:
    """Did the operation give several tensors, or none because it wrote into one?"""
    if z is None:
        return True
    parts = z if isinstance(z, tuple | list) else ()
    return any(isinstance(p, Tensor) and p.is_floating_point() for p in parts)


# ---------------------------------------------------------------------------------------------------- rules


def _passed_on(call: Call) -> Tensor:
    return _walker(call.a)


def _averaged(call: Call) -> Tensor:
    if "bicubic" in call.given:  # has weights below 0
        raise no_rule("bicubic interpolation")
    return eq10(call.a, call.on)


def _weighted(call: Call) -> Tensor:
    return eq10(call.a, call.with_weights())


def _sum(call: Call) -> Tensor:
    """P is split in proportion to what excites: the positive parts of the summands, with their weights."""
    if call.kwargs.get("alpha", 1) != 1:
        raise no_rule("a sum with a factor")
    u = Z = torch.zeros(())
    for value, sign in zip(call.given[:2], SUMS[call.name], strict=True):
        if depends([value]):  # else it is a bias
            excites = value.detach().clamp(min=0) * max(sign, 0)
            u, Z = u + excites * _walker(value), Z + excites
    return _over(u, Z)


def _product(call: Call) -> Tensor:
    """With constants, whose positive parts are the weights."""
    factors = [depends([value]) for value in call.given]
    if sum(factors) != 1:
        raise no_rule("mul" if call.name == "mul" else "matmul")
    place = factors.index(True)

    def linear(t: Tensor) -> Tensor:
        values = [_positive(value) for value in call.given]
        values[place] = t
        return call.function(*values)

    return eq10(call.given[place], linear)


def _quotient(call: Call) -> Tensor:
    a, divisor = call.given[:2]
    if depends([divisor]):
        raise no_rule("mul")
    return eq10(a, lambda t: t * _positive(1 / divisor))


def _positive(value: Any) -> Any:
    """The positive part of a constant."""
    if isinstance(value, Tensor):
        return value.clamp(min=0)
    return value if isinstance(value, str) else max(value, 0)


RULES: Mapping[str, Callable[[Call], Tensor]] = {
    **dict.fromkeys(PASSED_ON, _passed_on),
    **dict.fromkeys(AVERAGED, _averaged),
    **dict.fromkeys(WEIGHTED | TRANSPOSED, _weighted),
    **dict.fromkeys(SUMS, _sum),
    **dict.fromkeys(["mul", "matmul", "mm", "bmm", "einsum"], _product),
    "div": _quotient,
}
