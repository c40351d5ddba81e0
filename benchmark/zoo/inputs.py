"""What the trained part of a network gets: pixels, or the features behind a frozen prefix; and augmentation.

Pixels stay uint8 on the device (one byte per value) and are normalised batch by batch. Features psi(x) are computed
once.
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
    """Both splits as tensors on the device."""

    x_train: Tensor  # (n, c, h, w) uint8, or features
    y_train: Tensor  # (n,)
    x_test: Tensor
    y_test: Tensor
    scale: Tensor | None = (
        None  # (c, 1, 1): pixels become x * scale + offset; None for features
    )
    offset: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Rows of ``x_train`` or ``x_test`` as the network takes them."""
        if self.scale is None:
            return x
        return x.float().mul_(self.scale).add_(self.offset)


def normalisation(dataset: Dataset, recipe: Recipe) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, in units of [0, 1] pixels, as the recipe asks.

    Raises:
        ValueError: ImageNet's statistics for images that do not have three channels.
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


def pixels(
    dataset: Dataset, recipe: Recipe, device: torch.device, cache: Cache
) -> Inputs:
    """The data set on the device; jobs that share ``cache`` share the pixels."""
    n = min(recipe.train_images or dataset.size("train"), dataset.size("train"))
    name = f"pixels {n}"
    if name not in cache:
        arrays = dataset.arrays
        cache[name] = Inputs(
            x_train=torch.from_numpy(arrays["x_train"][:n]).to(device),
            y_train=torch.from_numpy(arrays["y_train"][:n]).to(device),
            x_test=torch.from_numpy(arrays["x_test"]).to(device),
            y_test=torch.from_numpy(arrays["y_test"]).to(device),
        )
    statistics = torch.tensor(
        normalisation(dataset, recipe), dtype=torch.float32, device=device
    )
    mean, std = statistics[:, :, None, None]  # (c, 1, 1) each
    return replace(cache[name], scale=1 / (255 * std), offset=-mean / std)


def features(psi: nn.Sequential, inputs: Inputs, cache: Cache) -> Inputs:
    """psi of every image, in evaluation mode; computed once for jobs that share ``cache``, data and psi."""
    what = (psi, len(inputs.y_train), inputs.scale.tolist(), inputs.offset.tolist())
    digest = hashlib.sha256(str(what).encode())
    for tensor in psi.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    name = f"features {digest.hexdigest()}"
    if name not in cache:
        psi.eval()
        x_train = _apply(psi, inputs, inputs.x_train)
        x_test = _apply(psi, inputs, inputs.x_test)
        cache[name] = Inputs(x_train, inputs.y_train, x_test, inputs.y_test)
    return cache[name]


@torch.no_grad()
def _apply(psi: nn.Sequential, inputs: Inputs, x: Tensor) -> Tensor:
    """psi of x (n, ...), chunk by chunk into one array, because features are large."""
    z, size = None, chunk(x)
    for start in range(0, len(x), size):
        part = psi(inputs(x[start : start + size]))
        if z is None:
            z = part.new_empty((len(x), *part.shape[1:]))
        z[start : start + size] = part
    return z


def chunk(x: Tensor) -> int:
    """How many of x (n, ...) are evaluated together."""
    return min(1024, max(8, _CHUNK_VALUES // x[0].numel()))


def draw(recipe: Recipe, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Augmentation of n images: flip (n,) bool and move (n, 2) int64, rows and columns."""
    probability = 0.5 if recipe.flip else 0.0
    flip = torch.rand(n, generator=rng) < probability
    move = torch.randint(-recipe.shift, recipe.shift + 1, (n, 2), generator=rng)
    return flip, move


def augment(x: Tensor, flip: Tensor, move: Tensor) -> Tensor:
    """Images (b, c, h, w) moved by ``move`` (b, 2) pixels down and right, then mirrored where ``flip`` (b,).

    Pixels at the edge are repeated.
    """
    b, c, h, w = x.shape
    row, column = torch.arange(h, device=x.device), torch.arange(w, device=x.device)
    rows = (row - move[:, :1]).clamp(0, h - 1)  # (b, h)
    columns = (column - move[:, 1:]).clamp(0, w - 1)  # (b, w)
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    image = torch.arange(b, device=x.device)
    channel = torch.arange(c, device=x.device)
    return x[
        image[:, None, None, None],
        channel[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
