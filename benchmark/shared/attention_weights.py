"""The attention weights of any network, recorded from its forward pass.

    with Attention() as attention:
        y = net(x)
    attention.weights           # one (n, heads, t, s) for each attention, in order: rows sum to 1

Idea: attention is softmax(q k^T) v, in whichever of these forms a network is written: torch's
``scaled_dot_product_attention``, ``nn.MultiheadAttention`` (both keep the weights to themselves; here they are
computed from what goes in), or a softmax (n, heads, t, s) or (n heads, t, s) that a product of matrices takes.
Softmaxes that no such product takes are not attention.

``nn.MultiheadAttention`` and ``nn.TransformerEncoderLayer`` leave their fused kernels by themselves while a
``TorchFunctionMode`` is on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_PRODUCTS = {"matmul", "bmm", "einsum"}
_COPIES = {"dropout", "to", "type", "type_as", "float", "contiguous", "clone", "detach"}


class Attention(TorchFunctionMode):
    """Records the attention weights of what runs within it."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []
        self._softmaxes: list[Tensor] = []  # and copies of them, since the last product

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "").strip("_")
        if name == "scaled_dot_product_attention":
            self._keep(weights_of(*args, **kwargs))
            return function(*args, **kwargs)
        if name == "multi_head_attention_forward":
            return self._multi_head(function, args, kwargs)
        if name in _PRODUCTS and (taken := self._taken(args)) is not None:
            self._keep(taken)
        out = function(*args, **kwargs)
        is_softmax = name == "softmax" and out.ndim in (3, 4)
        if is_softmax or (name in _COPIES and self._taken(args) is not None):
            self._softmaxes.append(out)
        return out

    def _taken(self, args: Sequence[Any]) -> Tensor | None:
        """The softmax among what a function is given."""
        flat = [
            part for a in args for part in (a if isinstance(a, list | tuple) else [a])
        ]
        for softmax in self._softmaxes:
            if any(part is softmax for part in flat):
                return softmax
        return None

    def _multi_head(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
    ) -> tuple[Tensor, Tensor | None]:
        """``nn.MultiheadAttention``, asked for its weights; it answers what it was asked before."""
        asked = kwargs.get("need_weights", True)
        averaged = kwargs.get("average_attn_weights", True)
        kwargs |= {"need_weights": True, "average_attn_weights": False}
        out, weights = function(*args, **kwargs)
        self._keep(weights)
        if not asked:
            return out, None
        return out, weights.mean(1) if averaged else weights

    def _keep(self, weights: Tensor) -> None:
        self._softmaxes = []
        self.weights.append(weights.detach())


def weights_of(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The weights (n, heads, t, s) of ``torch.nn.functional.scaled_dot_product_attention``."""
    if enable_gqa:
        k = k.repeat_interleave(q.shape[-3] // k.shape[-3], -3)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = q @ k.mT * scale
    if is_causal:
        attn_mask = torch.ones_like(scores, dtype=torch.bool).tril()
    if attn_mask is None:
        return scores.softmax(-1)
    if attn_mask.dtype == torch.bool:
        return scores.masked_fill(~attn_mask, -math.inf).softmax(-1)
    return (scores + attn_mask).softmax(-1)
