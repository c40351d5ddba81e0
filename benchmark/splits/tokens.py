"""Tokens of a layer as maps, and back: (n, t, d) <-> (n, d, h, w).

    fold = fold_of((197, 768), (3, 224, 224))    # Fold(14, 14, leading=1)
    z = fold(tokens)                             # (n, 768, 14, 14); the class token travels along, z.leading
    tokens = fold.back(z)

Idea: the tokens of a vision transformer are the patches of an image in rows, behind a few that have no place in it
(class and register tokens). The maps hold the patches alone, so that every method for channels and positions works on
them, while G needs the other tokens too. These go with each image: ``z`` is a ``Maps``, a tensor that keeps its images'
leading tokens through what takes rows apart and puts them together (slices, ``split``, ``torch.cat``) and through
changes of its values (sums, products, ``where``, ``clone``, ``detach``). G of changed maps is therefore G with the
image's own class token, and the gradient at the maps is the partial derivative, with the class token held fixed; a
gradient at the pixels passes through both. Any other operation returns a plain tensor, which G refuses: it could not
know whose class token to take.

Layers that give (n, h, w, d), as in Swin transformers, have no leading tokens; their axes are only moved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LEADING = 8  # class and register tokens, at most
# What keeps the images of a tensor in their order and changes at most its values.
_KEEP = (
    *("clone", "contiguous", "detach", "float", "requires_grad_", "to"),
    *("add", "sub", "mul", "div", "where", "relu", "clamp"),
    *("__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__"),
    *("__truediv__", "__neg__"),
)
# What picks whole images or puts them together, along an axis: where it stands among the arguments, and its default.
_ROWS = {
    "cat": (1, 0),
    "split": (2, 0),
    "index_select": (1, None),
    "repeat_interleave": (2, None),
}


class Maps(Tensor):
    """Maps (n, d, h, w) that carry the leading tokens (n, k, d) of their images."""

    leading: Tensor

    @classmethod
    def of(cls, maps: Tensor, leading: Tensor) -> Maps:
        found = maps.as_subclass(cls)
        found.leading = leading
        return found

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            out = function(*args, **kwargs)
            name = getattr(function, "__name__", "")
            if _takes_rows(name, args, kwargs):
                others = function(_leading(args[0]), *args[1:], **kwargs)
                return _together(out, others)
            if name in _KEEP:
                return _kept(name, out, args)
        return out


def _takes_rows(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Does this operation pick whole images, or put them together?"""
    maps = args[0] if args and isinstance(args[0], list | tuple) else args[:1]
    if not maps or not all(isinstance(each, Maps) for each in maps):
        return False
    if name == "__getitem__":
        rows = args[1]
        return isinstance(rows, slice | list) or getattr(rows, "ndim", 0) == 1
    if name not in _ROWS:
        return False
    place, default = _ROWS[name]
    positional = args[place] if len(args) > place else default
    return kwargs.get("dim", positional) == 0


def _leading(given: Any) -> Any:
    if isinstance(given, list | tuple):
        return [each.leading for each in given]
    return given.leading


def _together(maps: Any, leading: Any) -> Any:
    if isinstance(maps, Tensor):
        return Maps.of(maps, leading)
    return tuple(Maps.of(*pair) for pair in zip(maps, leading, strict=True))


def _kept(name: str, out: Any, args: Sequence[Any]) -> Any:
    """The result with the leading tokens of the maps that went in, if it has their shape."""
    given = next((each for each in args if isinstance(each, Maps)), None)
    if given is None or out is given or out.shape != given.shape:
        return out
    leading = given.leading.to(out)
    return Maps.of(out, leading.detach() if name == "detach" else leading)


@dataclass(frozen=True)
class Fold:
    """How the output of a layer becomes maps (n, d, h, w); ``h`` = 0: it is (n, h, w, d), whose axes are only moved.

    ``constant``: the leading tokens (1, k, d), where they are the same for all images.
    """

    h: int = 0
    w: int = 0
    leading: int = 0
    constant: Tensor | None = None

    def __call__(self, z: Tensor) -> Tensor:
        """(n, t, d) -> (n, d, h, w), with the leading tokens if they differ from image to image."""
        if not self.h:
            return z.permute(0, 3, 1, 2).contiguous()
        first = z[:, : self.leading]
        patches = z[:, self.leading :]
        maps = patches.mT.reshape(len(z), -1, self.h, self.w)
        if not self.leading or self.constant is not None:
            return maps
        return Maps.of(maps, first)

    def back(self, z: Tensor) -> Tensor:
        """(n, d, h, w) -> what the layer gives, (n, t, d).

        Raises:
            LookupError: the maps have lost the leading tokens of their images.
        """
        if not self.h:
            return z.permute(0, 2, 3, 1)
        patches = z.as_subclass(Tensor).flatten(2).mT
        if not self.leading:
            return patches
        if self.constant is not None:
            first = self.constant.expand(len(z), -1, -1)
        elif isinstance(z, Maps):
            first = z.leading
        elif z.is_meta:  # shapes alone
            first = z.new_empty(len(z), self.leading, z.shape[1])
        else:
            raise LookupError("the maps have lost the class token of their images")
        return torch.cat([first, patches], dim=1)


def fold_of(z: Tensor, image: Sequence[int], grid: str = "") -> Fold | None:
    """How to fold the output z of a layer for n images (c, h, w); None where nothing is to be folded.

    Args:
        grid: ``14x14`` where it should not be found from the number of tokens.

    Raises:
        ValueError: there are fewer tokens than the grid has, or many more.
    """
    _, height, width = image
    if z.ndim == 4 and height == width:
        in_rows = z.shape[1] == z.shape[2] != z.shape[3]
        return Fold() if in_rows else None
    if z.ndim != 3:
        return None
    t = z.shape[1]
    sizes = [_named(grid)] if grid else _grids(t, height, width)
    for h, w in sizes:
        leading = t - h * w
        if 0 <= leading <= LEADING:
            return Fold(h, w, leading, _constant(z[:, :leading]))
    if grid:
        raise ValueError(f"gives {t} tokens, which are not {grid} and up to {LEADING}")
    return None


def _named(grid: str) -> tuple[int, int]:
    h, w = map(int, grid.split("x"))
    return h, w


def _grids(t: int, height: int, width: int) -> list[tuple[int, int]]:
    """Sizes (h, w) in the shape of the image that t tokens and up to ``LEADING`` leading ones may have."""
    found = []
    for leading in range(LEADING + 1):
        h = round(math.sqrt(max(0, t - leading) * height / width))
        w = round(h * width / height)
        if h * w == t - leading and h * w > 1:
            found.append((h, w))
    return found


def _constant(leading: Tensor) -> Tensor | None:
    """Leading tokens (n, k, d) that are the same for all images, as (1, k, d); else None."""
    if leading.is_meta or not leading.shape[1]:
        return None
    first = leading[:1]
    return first.clone() if torch.equal(leading, first.expand_as(leading)) else None
