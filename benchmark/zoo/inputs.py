"""What the trained part of a network sees: pixels, or the features behind a frozen prefix; and augmentation.

Pixels stay uint8 on the device (a byte a value) and are normalised batch by batch. Features psi(x) are computed once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from benchmark.data import Dataset
from benchmark.zoo import pretrained
from benchmark.zoo.recipe import Recipe

_CHUNK_VALUES = 2**20  # input values that go through a network together

Cache = dict[str, "Inputs"]


@dataclass(frozen=True)
class Inputs:
    x_train: Tensor  # (n, c, h, w) uint8, or features
    y_train: Tensor  # (n,)
    x_test: Tensor
    y_test: Tensor
    scale: Tensor | None = (
        None  # (c, 1, 1): pixels become x * scale + offset; None: features, used as they are
    )
    offset: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Rows of ``x_train`` or ``x_test`` as the network takes them."""
        return x if self.scale is None else x.float().mul_(self.scale).add_(self.offset)


def normalisation(dataset: Dataset, recipe: Recipe) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, in units of [0, 1] pixels, as the recipe asks.

    Raises:
        ValueError: ImageNet's for images that have not three channels.
    """
    how = recipe.normalise or ("imagenet" if recipe.pretrained else "dataset")
    channels = dataset.input_shape[0]
    if how == "dataset":
        return dataset.statistics()
    if how == "none":
        return [0.0] * channels, [1.0] * channels
    if channels != 3:
        raise ValueError(
            f"ImageNet's normalisation is for 3 channels, {dataset.name} has {channels}"
        )
    return pretrained.MEAN, pretrained.STD


def pixels(dataset: Dataset, recipe: Recipe, device: torch.device, cache: Cache) -> Inputs:
    """The data set on the device; jobs that share ``cache`` share the pixels."""
    n = min(recipe.train_images or dataset.size("train"), dataset.size("train"))
    if (name := f"pixels {n}") not in cache:
        arrays = [
            dataset.arrays[key][:stop]
            for stop, split in ((n, "train"), (None, "test"))
            for key in (f"x_{split}", f"y_{split}")
        ]
        cache[name] = Inputs(*(torch.from_numpy(array).to(device) for array in arrays))
    mean, std = (
        torch.tensor(v, dtype=torch.float32, device=device).view(-1, 1, 1)
        for v in normalisation(dataset, recipe)
    )
    return replace(cache[name], scale=1 / (255 * std), offset=-mean / std)


def features(psi: nn.Sequential, inputs: Inputs, cache: Cache) -> Inputs:
    """psi of every image, in evaluation mode; computed once for jobs that share ``cache``, data and psi."""
    digest = hashlib.sha256(
        str((psi, len(inputs.y_train), inputs.scale.tolist(), inputs.offset.tolist())).encode()
    )
    for tensor in psi.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    if (name := f"features {digest.hexdigest()}") not in cache:
        psi.eval()
        x_train, x_test = (_apply(psi, inputs, x) for x in (inputs.x_train, inputs.x_test))
        cache[name] = Inputs(x_train, inputs.y_train, x_test, inputs.y_test)
    return cache[name]


@torch.no_grad()
def _apply(psi: nn.Sequential, inputs: Inputs, x: Tensor) -> Tensor:
    """psi of x (n, ...), in chunks, into one array: features are large."""
    z, size = None, chunk(x)
    for start in range(0, len(x), size):
        part = psi(inputs(x[start : start + size]))
        z = part.new_empty((len(x), *part.shape[1:])) if z is None else z
        z[start : start + size] = part
    return z


def chunk(x: Tensor) -> int:
    """How many of x (n, ...) are evaluated together."""
    return min(1024, max(8, _CHUNK_VALUES // x[0].numel()))


def draw(recipe: Recipe, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Augmentation of n images: flip (n,) bool and move (n, 2) int64, rows and columns."""
    flip = torch.rand(n, generator=rng) < (0.5 if recipe.flip else 0.0)
    return flip, torch.randint(-recipe.shift, recipe.shift + 1, (n, 2), generator=rng)


def augment(x: Tensor, flip: Tensor, move: Tensor) -> Tensor:
    """Images (b, c, h, w) moved by ``move`` (b, 2) pixels down and right, edges repeated, then mirrored where ``flip`` (b,)."""
    b, c, h, w = x.shape
    rows = (torch.arange(h, device=x.device) - move[:, :1]).clamp(0, h - 1)  # (b, h)
    columns = (torch.arange(w, device=x.device) - move[:, 1:]).clamp(0, w - 1)  # (b, w)
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    image, channel = (
        torch.arange(b, device=x.device).view(b, 1, 1, 1),
        torch.arange(c, device=x.device).view(c, 1, 1),
    )
    return x[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
