"""Average drop and average increase of masked images (RI, Eq. 7, 8), as the paper's tables take them.

    keep = top_share(maps, 0.2)                         # (n, h, w) bool; whole_segments(maps, 0.2) for ACE
    drop, increase, y, y_kept = masked(target, batch, keep)

Theory: Y_c is the softmax probability of class c, by default the one that F predicts on the whole image, e' the image
with the kept pixels and 0 elsewhere;  AD = 100 max(0, Y_c(e) - Y_c(e')) / Y_c(e),  AI = 100 [Y_c(e) < Y_c(e')].

A rise is one that probabilities in float32 show, as the authors' networks return them: none from 1 - 1e-9, which is 1.
``compare="log_odds"`` sees those as well, since log-odds do not saturate; then the numbers are those of the metrics
``average_drop`` and ``average_increase`` (a test says so), for any mask.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from benchmark.api import Array, Batch, Target

Compare = Literal["float32", "log_odds"]
RANKED = 64  # maps at once
NOISE = 1e-4  # a rise of the log-odds by less is float32 rounding


def top_share(
    maps: Array, share: float = 0.2, device: torch.device | str = "cpu"
) -> Array:
    """The floor(share h w) largest pixels of each map (n, h, w), ties to the lower index; ranked on ``device``."""
    flat = torch.from_numpy(_flat(maps))
    count, kept = _count(flat, share), []
    for part in flat.split(RANKED):
        kept.append(_largest(part.to(device), count).cpu())
    return torch.cat(kept).view(np.shape(maps)).numpy()


def _largest(flat: Tensor, count: int) -> Tensor:
    """Are these the ``count`` largest of their row? (n, p) bool, ties to the lower index."""
    if not count:
        return torch.zeros_like(flat, dtype=torch.bool)
    least = flat.topk(count, dim=1, sorted=False).values.amin(1, keepdim=True)
    above, ties = flat > least, flat == least
    left = count - above.sum(1, keepdim=True)
    return above | (ties & (ties.cumsum(1, dtype=torch.int32) <= left))


def whole_segments(maps: Array, share: float = 0.2) -> Array:
    """Maps with a level per segment: the best segments, one after the other, until more than ``share`` is kept."""
    flat = _flat(maps)
    count = _count(flat, share)
    beyond = -np.partition(-flat, count, axis=1)[
        :, count
    ]  # the first pixel beyond the share
    keep = (flat >= beyond[:, None]) & (flat > 0)
    return keep.reshape(np.shape(maps))


def _flat(maps: Array) -> Array:
    """(n, h w)"""
    return np.asarray(maps, np.float32).reshape(len(maps), -1)


def _count(flat: Array | Tensor, share: float) -> int:
    """floor(share h w), safe against shares that binary fractions miss."""
    return math.floor(share * flat.shape[1] + 1e-9)


@torch.no_grad()
def masked(
    target: Target,
    batch: Batch,
    keep: Array,
    c: Tensor | None = None,
    compare: Compare = "float32",
) -> tuple[Array, Array, Array, Array]:
    """AD and AI in percent, Y_c(e) and Y_c(e'), (n,) each, for the pixels ``keep`` (n, h, w) bool of each image and the
    class c (n,), by default the predicted one."""
    z = target(batch)  # (n, C)
    c = z.argmax(dim=1) if c is None else c.to(z.device)
    logits = []
    masks = torch.from_numpy(keep).split(batch.chunk)
    for part, mask in zip(batch, masks, strict=True):
        seen = part.x * mask[:, None].to(part.x.device)
        logits.append(target(seen))
    z_kept = torch.cat(logits)
    odds, odds_kept = _log_odds(z, c), _log_odds(z_kept, c)
    y, y_kept = expit(odds), expit(odds_kept)
    lost = np.maximum(0, y - y_kept)
    share = np.divide(lost, y, out=np.zeros_like(y), where=y > 0)
    rises = odds_kept - odds > NOISE
    if compare == "float32":
        rises = _float32(z_kept, c) > _float32(z, c)
    return 100 * share, 100.0 * rises, y, y_kept


def _float32(z: Tensor, c: Tensor) -> Array:
    """Y_c (n,) of logits (n, C), in float32."""
    y = z.float().softmax(dim=1).gather(1, c[:, None])
    return y[:, 0].cpu().numpy()


def _log_odds(z: Tensor, c: Tensor) -> Array:
    """log Y_c / (1 - Y_c) (n,) of logits (n, C)."""
    z, c = z.double(), c[:, None]
    own = z.gather(1, c)[:, 0]
    others = z.scatter(1, c, -torch.inf).logsumexp(1)
    odds = own - others
    return odds.cpu().numpy()
