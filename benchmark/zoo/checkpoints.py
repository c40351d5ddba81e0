"""The files of a training: what is done already, the state of a run that was interrupted, weights and card."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark import store
from benchmark.data import Dataset
from benchmark.utils import devices
from benchmark.utils.seeds import seed_hash
from benchmark.zoo import nets, pretrained
from benchmark.zoo.inputs import normalisation
from benchmark.zoo.networks import Networks
from benchmark.zoo.recipe import Recipe

State = dict[str, Tensor]


@dataclass
class Job:
    """One network to be trained."""

    dataset: Dataset
    recipe: Recipe
    seed: int
    path: Path
    key: str  # hash of recipe, data, code and seed
    seconds: float = 0.0
    source: dict[str, str] | None = field(default=None)  # of pretrained weights

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        recipe: Mapping[str, Any],
        seed: int,
        path: Path,
        code: str,
    ) -> Job:
        """A job from a recipe's mapping and the hash ``code`` of the code that trains."""
        parsed = Recipe.parse(recipe)
        parts = [parsed.decisive(), data_hash(dataset), code, seed]
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return cls(dataset, parsed, seed, Path(path), key)

    @property
    def name(self) -> str:
        net = self.path.stem.removesuffix(f"-{self.seed}")
        return f"{self.dataset.name}/{net}/seed={self.seed}"

    @property
    def card(self) -> Path:
        return self.path.with_suffix(".json")

    @property
    def partial(self) -> Path:
        return self.path.with_name(f"{self.path.stem}.partial.safetensors")

    def seed_for(self, *purpose: object) -> int:
        return seed_hash("train", self.dataset.name, self.seed, *purpose)

    def rng(self, *purpose: object) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed_for(*purpose))


def data_hash(dataset: Dataset) -> str:
    """Hash of all that training sees: name, images, labels, classes."""
    digest = hashlib.sha256(dataset.name.encode())
    for key in ("x_train", "y_train", "x_test", "y_test", "classes"):
        array = np.ascontiguousarray(dataset.arrays[key])
        digest.update(f"{key} {array.dtype} {array.shape}".encode())
        digest.update(array.view(np.uint8).data)
    return digest.hexdigest()


def is_done(job: Job) -> bool:
    """Are weights and card there, made with the job's key?"""
    try:
        card = store.read_json(job.card)
        return card.get("key") == job.key and card["sha256"] == pretrained.file_hash(
            job.path
        )
    except (store.StoreError, OSError, KeyError, AttributeError):
        return False


# --------------------------------------------------------------------------------------------- interrupted runs


def read_partial(job: Job) -> State | None:
    """The state of an interrupted run; None if there is none of this recipe, data and code."""
    if not job.partial.exists():
        return None
    try:
        state = store.read_weights(job.partial)
    except store.StoreError:  # a damaged file costs time only
        return None
    return state if bytes(state["key"].tolist()).hex() == job.key else None


def write_partial(
    job: Job,
    model: Networks,
    k: int,
    optimiser: torch.optim.Optimizer,
    epochs: int,
    seconds: float,
) -> None:
    """Network k after ``epochs`` epochs: one file, so that weights, optimiser and epoch always belong together."""
    state = {f"net/{name}": tensor for name, tensor in model.member(k).items()}
    for name, parameter in model.parameters.items():
        for key, value in optimiser.state[parameter].items():
            if isinstance(value, Tensor):
                shared = (
                    model.k == 1 or value.ndim == 0
                )  # no dimension: the count of steps
                state[f"optimiser/{key}/{name}"] = value if shared else value[k]
    state["epoch"] = torch.tensor(epochs)
    state["seconds"] = torch.tensor(seconds, dtype=torch.float64)
    state["key"] = torch.tensor(list(bytes.fromhex(job.key)), dtype=torch.uint8)
    store.write_weights(job.partial, state)


def resume(jobs: list[Job], model: Networks, optimiser: torch.optim.Optimizer) -> int:
    """Put the saved states of jobs, all of one epoch, into the model and its optimiser.

    Returns:
        how many epochs are done: 0 if a state is missing.
    """
    states = [read_partial(job) for job in jobs]
    if not all(states):
        return 0
    with torch.no_grad():
        for name, tensor in (model.parameters | model.buffers).items():
            tensor.copy_(_gather(states, f"net/{name}", tensor))
        names = [name for name in states[0] if name.startswith("optimiser/")]
        keys = sorted({name.split("/")[1] for name in names})
        for name, parameter in model.parameters.items():
            optimiser.state[parameter] = {
                key: _gather(states, f"optimiser/{key}/{name}", parameter)
                for key in keys
            }
    for job, state in zip(jobs, states, strict=True):
        job.seconds = float(state["seconds"])
    return int(states[0]["epoch"])


def _gather(states: list[State], name: str, like: Tensor) -> Tensor:
    """A tensor of all networks, in the memory layout of ``like``, which fused optimisers count on."""
    value = states[0][name]
    counts_steps = name.startswith("optimiser/") and value.ndim == 0
    if len(states) > 1 and not counts_steps:
        value = torch.stack([state[name] for state in states])
    layout = like if value.shape == like.shape else value
    return torch.empty_like(layout, device=like.device).copy_(value)


# --------------------------------------------------------------------------------------------- results


def write(
    job: Job,
    net: nn.Sequential,
    device: torch.device,
    *,
    epochs: int,
    train_images: int,
    train_accuracy: float,
    test_accuracy: float,
) -> None:
    """The weights, then the card that vouches for them; a run that is interrupted in between trains again."""
    recipe, dataset = job.recipe, job.dataset
    store.write_weights(job.path, net.state_dict())
    mean, std = normalisation(dataset, recipe)
    pixel_mean, pixel_std = dataset.statistics()
    card = {
        "name": job.name,
        "net": recipe.net,
        "options": dict(recipe.options),
        "layers": [name for name, _ in net.named_children()],
        "layer": recipe.explained_layer(net),
        "input_shape": list(dataset.input_shape),
        "classes": list(dataset.classes),
        "mean": mean,
        "std": std,
        "pixel_mean": pixel_mean,
        "pixel_std": pixel_std,
        "parameters": nets.parameter_count(net),
        "pretrained": job.source,
        "dataset": dataset.name,
        "data": data_hash(dataset),
        "images": {"train": train_images, "test": dataset.size("test")},
        "recipe": recipe.decisive(),
        "seed": job.seed,
        "epochs": epochs,
        "train_accuracy": train_accuracy,
        "test_accuracy": test_accuracy,
        "sha256": pretrained.file_hash(job.path),
        "key": job.key,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": version("torchvision"),
            "numpy": np.__version__,
        },
        "device": devices.name(device),
    }
    store.write_json(job.card, card)
    job.partial.unlink(missing_ok=True)
