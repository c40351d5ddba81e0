"""One training loop for every network.

    card = train(dataset, {"net": "mlp", "epochs": 20}, seed=0, path=Path("mlp-0.safetensors"))
    target = load(Path("mlp-0.safetensors"))

The pixels lie on the device as uint8 and are normalised batch by batch. Convolutions run channels-last, which is up to
1.6 times faster on a CPU thread too; on a GPU the arithmetic is bf16 where autocast thinks it safe. With ``freeze_until`` the frozen prefix psi is computed once and only
the rest G is trained, on psi(x). Every random draw (weights, order, dropout, augmentation) follows a seed named by data
set, seed and epoch, so a run that was interrupted, and is picked up from its last saved epoch, ends at the same bytes.

``train_many`` trains K networks of one recipe as one batched network: parameters (K, ...) under ``vmap``, which turns
their K products into one (bmm, grouped convolution). That is for a GPU, where small networks wait for kernel launches; on
a CPU processes side by side are faster (``speed/zoo.py``). Batch norm's running statistics are stacked like the
parameters. Dropout draws other masks than a single run does; all else agrees to rounding.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional as F

from benchmark import store
from benchmark.api import Target
from benchmark.data import Dataset
from benchmark.utils.seeds import seed_hash
from benchmark.zoo import dense, nets, pretrained
from benchmark.zoo.inputs import (
    Cache,
    Inputs,
    augment,
    chunk,
    draw,
    features,
    normalisation,
    pixels,
)
from benchmark.zoo.recipe import Recipe

SAVE_SECONDS = (
    20.0  # a run that is cut off loses no more than this and the epoch that was under way
)

Progress = Callable[[str, int, int, float], None]  # (name, epochs done, epochs, mean loss)


class TrainingError(Exception):
    """A training that cannot give a usable network; the message says what to change."""


@dataclass
class _Job:
    """One network to be trained."""

    dataset: Dataset
    recipe: Recipe
    seed: int
    path: Path
    key: str  # hash of recipe, data, code and seed
    seconds: float = 0.0
    source: dict[str, str] | None = field(default=None)  # of pretrained weights

    @property
    def name(self) -> str:
        return (
            f"{self.dataset.name}/{self.path.stem.removesuffix(f'-{self.seed}')}/seed={self.seed}"
        )

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


# --------------------------------------------------------------------------------------------- doors


def train(
    dataset: Dataset,
    recipe: Mapping[str, Any],
    seed: int,
    path: Path,
    device: str = "cpu",
    progress: Progress | None = None,
    code: str = "",
) -> dict[str, Any]:
    """Train one network; write its weights to ``path`` and its card beside them, and return the card.

    Returns at once where both are there and nothing that they depend on has changed; continues a run that was cut off.
    ``code`` is a hash of the code that trains; weights made under another one are trained again.

    Raises:
        UnknownName, ValueError: a bad recipe.
        TrainingError: the loss is not finite.
        StoreError: pretrained weights that cannot be had.
    """
    return train_many(dataset, [(recipe, seed, path)], device, progress, code=code)[0]


def train_many(
    dataset: Dataset,
    jobs: Sequence[tuple[Mapping[str, Any], int, Path]],
    device: str = "cpu",
    progress: Progress | None = None,
    batched: bool | None = None,
    code: str = "",
) -> list[dict[str, Any]]:
    """The same for jobs (recipe, seed, path), in their order. ``batched``: networks of one recipe train as one (default:
    on a GPU).

    Returns:
        the cards; ``seconds`` in the card of a network that was trained now, those of an earlier run that it went on from
        included. The file has none: the same network is the same file, however long it took.
    """
    batched = torch.device(device).type != "cpu" if batched is None else batched
    todo = [_job(dataset, *job, code) for job in jobs]
    groups: dict[Any, list[_Job]] = {}
    for number, job in enumerate(todo):
        if not _is_done(job):
            state = _read_partial(job) if batched else None
            epoch = int(state["epoch"]) if state else 0
            like = (
                json.dumps(job.recipe.decisive(), sort_keys=True, default=str) + f" {epoch}"
                if batched
                else number
            )
            groups.setdefault(like, []).append(job)
    cache: Cache = {}  # pixels and frozen features, shared by the jobs
    with _deterministic(device):
        for group in groups.values():
            _fit(group, torch.device(device), progress, cache)
    return [
        store.read_json(job.card) | ({"seconds": job.seconds} if job.seconds else {})
        for job in todo
    ]


def load(path: Path, device: str = "cpu") -> Target:
    """The trained network of a file that ``train`` wrote, its batch norms folded into the convolutions before them.

    Raises:
        StoreError: weights or card are missing or damaged, or do not belong together.
    """
    path, card_path = Path(path), Path(path).with_suffix(".json")
    card = store.read_json(card_path)
    if not isinstance(card, dict) or "failed" in card:
        reason = card.get("failed", "") if isinstance(card, dict) else "its card is no mapping"
        raise store.StoreError(
            f"{path} is no trained network: {reason}; correct the recipe and train again"
        )
    state = store.read_weights(path)
    if pretrained.file_hash(path) != card.get("sha256"):
        raise store.StoreError(
            f"{path} is damaged (not the weights of {card_path.name}); {store.maker(path) or 'train again'}"
        )
    try:
        net = nets.build(card["net"], card["input_shape"], len(card["classes"]), card["options"])
        net.load_state_dict(state, assign=True)
        rows = device == "cpu" and nets.NETS[card["net"]].contiguous
        layout = torch.contiguous_format if rows else torch.channels_last
        return Target(
            nets.fold_norm(net).to(device, memory_format=layout),
            name=card["name"],
            classes=card["classes"],
            input_shape=card["input_shape"],
            mean=card["mean"],
            std=card["std"],
            layer=card["layer"],
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())[:200]
        raise store.StoreError(
            f"{card_path} does not fit its weights ({text}); delete both and {store.maker(path) or 'train again'}"
        ) from None


# --------------------------------------------------------------------------------------------- what is done already


def _job(dataset: Dataset, recipe: Mapping[str, Any], seed: int, path: Path, code: str) -> _Job:
    parsed = Recipe.parse(recipe)
    parts = [parsed.decisive(), data_hash(dataset), code, seed]
    return _Job(
        dataset,
        parsed,
        seed,
        Path(path),
        hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest(),
    )


def data_hash(dataset: Dataset) -> str:
    """Of all that training sees: name, images, labels, classes."""
    digest = hashlib.sha256(dataset.name.encode())
    for key in ("x_train", "y_train", "x_test", "y_test", "classes"):
        array = np.ascontiguousarray(dataset.arrays[key])
        digest.update(f"{key} {array.dtype} {array.shape}".encode())
        digest.update(array.view(np.uint8).data)
    return digest.hexdigest()


def _is_done(job: _Job) -> bool:
    try:
        card = store.read_json(job.card)
        return card.get("key") == job.key and card["sha256"] == pretrained.file_hash(job.path)
    except (store.StoreError, OSError, KeyError, AttributeError):
        return False


def _read_partial(job: _Job) -> dict[str, Tensor] | None:
    """The state of a run that was cut off; None where there is none, or not of this recipe, data and code."""
    if not job.partial.exists():
        return None
    try:
        state = store.read_weights(job.partial)
    except store.StoreError:  # a damaged file costs time only
        return None
    return state if bytes(state["key"].tolist()).hex() == job.key else None


# --------------------------------------------------------------------------------------------- the loop


class _Networks:
    """K networks of one shape as one: parameters and buffers (K, ...). With K = 1 the plain network itself."""

    def __init__(self, members: list[nn.Sequential]) -> None:
        self.first, self.k = members[0], len(members)
        if self.k == 1:
            self.parameters, self.buffers = (
                dict(self.first.named_parameters()),
                dict(self.first.named_buffers()),
            )
        else:
            self.parameters, self.buffers = stack_module_state(members)
        self.chain = dense.Chain.of(self.first) if self.k == 1 else None

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean cross entropy (K,) of images x (K * b, ...) in classes y (K, b); the gradients of its sum over the
        networks, which keeps theirs apart, are in the parameters' ``grad``.
        """
        if self.chain:
            return torch.tensor([self.chain.gradients(x, y[0])])
        for parameter in self.parameters.values():
            parameter.grad = None
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cuda"):
            logits = self(x.view(*y.shape, *x.shape[1:]) if self.k > 1 else x[None])
        loss = (
            F.cross_entropy(logits.float().flatten(0, 1), y.flatten(), reduction="none")
            .view(y.shape)
            .mean(1)
        )
        loss.sum().backward()
        return loss.detach()

    def __call__(self, x: Tensor) -> Tensor:
        """(K, b, ...) -> logits (K, b, C)."""
        if self.k == 1:
            return self.first(x[0])[None]
        call = lambda p, b, x: functional_call(self.first, (p, b), (x,))
        return torch.vmap(call, randomness="different")(self.parameters, self.buffers, x)

    def member(self, k: int) -> dict[str, Tensor]:
        """The state dict of network k (views)."""
        return {
            name: t if self.k == 1 else t[k] for name, t in (self.parameters | self.buffers).items()
        }

    @torch.no_grad()
    def accuracy(self, data: Inputs, x: Tensor, y: Tensor) -> list[float]:
        """The share of images (n, ...) that each network puts into their class y (n,)."""
        self.first.eval()
        hits = sum(
            (self(data(part).expand(self.k, *part.shape)).argmax(2) == label).sum(1)
            for part, label in zip(x.split(chunk(x)), y.split(chunk(x)), strict=True)
        )
        return (hits.double() / len(y)).tolist()


def _fit(jobs: list[_Job], device: torch.device, progress: Progress | None, cache: Cache) -> None:
    """Train jobs of one recipe together and write each as it is done."""
    recipe, begin = jobs[0].recipe, time.perf_counter()
    whole = [_start(job, device) for job in jobs]
    data = pixels(jobs[0].dataset, recipe, device, cache)
    cut = _cut(jobs[0], whole[0])
    if cut:
        data = features(whole[0][:cut], data, cache)
    model = _Networks([net[cut:] for net in whole])
    optimiser = recipe.optimiser_for(list(model.parameters.values()))
    first = _resume(jobs, model, optimiser)
    waiting, saved = dict(enumerate(jobs)), time.perf_counter()

    def finish(k: int, epochs: int, train_accuracy: float, test_accuracy: float) -> None:
        job = waiting.pop(k)
        whole[k][cut:].load_state_dict(model.member(k))
        job.seconds += time.perf_counter() - begin
        _write(job, whole[k], epochs, train_accuracy, test_accuracy, len(data.y_train), device)

    def check(epochs: int) -> None:
        """Finish the networks that are good enough."""
        reached = model.accuracy(data, data.x_train, data.y_train)
        if good := [
            k
            for k in waiting
            if epochs == recipe.epochs or reached[k] >= recipe.stop_at_train_accuracy
        ]:
            test = model.accuracy(data, data.x_test, data.y_test)
            for k in good:
                finish(k, epochs, reached[k], test[k])

    diverged = []
    for epoch in range(first, recipe.epochs):
        loss = _epoch(jobs, model, optimiser, data, epoch, device)
        for k in [k for k in waiting if not (math.isfinite(loss[k]) and _finite(model.member(k)))]:
            job = waiting.pop(k)
            job.partial.unlink(missing_ok=True)
            diverged.append(
                f"{job.name} diverged in epoch {epoch + 1} (loss {loss[k]}); lower lr in its recipe"
            )
        for k, job in waiting.items():
            if progress:
                progress(job.name, epoch + 1, recipe.epochs, loss[k])
        if (
            recipe.stop_at_train_accuracy is not None
            and waiting
            and (epoch + 1) % recipe.check_every == 0
        ):
            check(epoch + 1)
        if not waiting:
            break
        if time.perf_counter() - saved >= SAVE_SECONDS:
            for k, job in waiting.items():
                _write_partial(
                    job, model, k, optimiser, epoch + 1, job.seconds + time.perf_counter() - begin
                )
            saved = time.perf_counter()
    if waiting:
        check(recipe.epochs)
    if diverged:
        raise TrainingError("; ".join(diverged))


def _finite(state: Mapping[str, Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in state.values())


def _start(job: _Job, device: torch.device) -> nn.Sequential:
    """The network before its first step."""
    recipe, shape = job.recipe, job.dataset.input_shape
    net = nets.build(
        recipe.net,
        shape,
        len(job.dataset.classes),
        recipe.options,
        seed=job.seed_for("init", recipe.net),
    )
    if recipe.pretrained:
        state, job.source = pretrained.weights(recipe.net, recipe.pretrained)
        net.load_state_dict(
            state, strict=False
        )  # all but the last layer; checked by from_torchvision
    _explained(job, net)
    for module in net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return net.to(device, memory_format=torch.channels_last)


def _explained(job: _Job, net: nn.Sequential) -> str | None:
    """The layer that the recipe, or else the net, is explained at."""
    names = [name for name, _ in net.named_children()]
    layer = job.recipe.layer or nets.NETS[job.recipe.net].layer
    if layer is not None and layer not in names:
        raise nets.near(layer, names, f"layer of {job.recipe.net}")
    return layer


def _cut(job: _Job, net: nn.Sequential) -> int:
    """How many layers stay frozen."""
    names = [name for name, _ in net.named_children()]
    if job.recipe.freeze_until is None:
        return 0
    if job.recipe.freeze_until not in names[:-1]:
        raise nets.near(job.recipe.freeze_until, names[:-1], f"layer to freeze in {job.recipe.net}")
    return names.index(job.recipe.freeze_until) + 1


def _epoch(
    jobs: list[_Job],
    model: _Networks,
    optimiser: torch.optim.Optimizer,
    data: Inputs,
    epoch: int,
    device: torch.device,
) -> list[float]:
    """One pass over the training images, each network in its own order; the mean loss of each."""
    recipe, n = jobs[0].recipe, len(data.y_train)
    order = torch.stack([torch.randperm(n, generator=job.rng("order", epoch)) for job in jobs]).to(
        device
    )  # (K, n)
    changed = recipe.flip or recipe.shift
    if changed:
        flip, move = (
            torch.stack(draws).to(device)
            for draws in zip(
                *(draw(recipe, n, job.rng("augment", epoch)) for job in jobs), strict=True
            )
        )
    batches = list(order.split(recipe.batch, dim=1))
    if batches[-1].shape[1] == 1 and len(batches) > 1:  # batch norm needs two
        batches[-2:] = [torch.cat(batches[-2:], dim=1)]
    model.first.train()
    total, start = torch.zeros(len(jobs), device=device), 0
    with nets.seeded(jobs[0].seed_for("dropout", epoch), device):
        for number, rows in enumerate(batches):  # (K, b)
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate(epoch + number / len(batches))
            x, y = data.x_train.index_select(0, rows.flatten()), data.y_train[rows]
            if changed:
                here = slice(start, start + rows.shape[1])
                x = augment(x, flip[:, here].flatten(), move[:, here].flatten(0, 1))
            x = data(x)
            x = x.to(memory_format=torch.channels_last) if x.ndim == 4 else x
            loss = model.gradients(x, y)
            optimiser.step()
            total += loss * rows.shape[1]
            start += rows.shape[1]
    return (total / n).tolist()


@contextmanager
def _deterministic(device: str) -> Iterator[None]:
    """On a GPU: deterministic algorithms where they exist, as before afterwards."""
    if torch.device(device).type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])


# --------------------------------------------------------------------------------------------- files


def _write_partial(
    job: _Job,
    model: _Networks,
    k: int,
    optimiser: torch.optim.Optimizer,
    epochs: int,
    seconds: float,
) -> None:
    """One file, so that weights, optimiser and epoch can never be of different times."""
    state = {f"net/{name}": t for name, t in model.member(k).items()}
    for name, parameter in model.parameters.items():
        for key, value in optimiser.state[parameter].items():
            if isinstance(value, Tensor):
                state[f"optimiser/{key}/{name}"] = (
                    value if model.k == 1 or value.ndim == 0 else value[k]
                )
    state |= {"epoch": torch.tensor(epochs), "seconds": torch.tensor(seconds, dtype=torch.float64)}
    store.write_weights(
        job.partial, state | {"key": torch.tensor(list(bytes.fromhex(job.key)), dtype=torch.uint8)}
    )


def _resume(jobs: list[_Job], model: _Networks, optimiser: torch.optim.Optimizer) -> int:
    """Put the saved states of jobs, all of one epoch, into the model and its optimiser; how many epochs are done."""
    states = [_read_partial(job) for job in jobs]
    if not all(states):
        return 0

    def gather(name: str, like: Tensor) -> Tensor:
        """In the memory layout of ``like``, which fused optimisers count on."""
        shared = model.k == 1 or (
            name.startswith("optimiser/") and states[0][name].ndim == 0
        )  # the count of steps
        value = states[0][name] if shared else torch.stack([state[name] for state in states])
        return torch.empty_like(
            like if value.shape == like.shape else value, device=like.device
        ).copy_(value)

    with torch.no_grad():
        for name, tensor in (model.parameters | model.buffers).items():
            tensor.copy_(gather(f"net/{name}", tensor))
        keys = {name.split("/")[1] for name in states[0] if name.startswith("optimiser/")}
        for name, parameter in model.parameters.items():
            optimiser.state[parameter] = {
                key: gather(f"optimiser/{key}/{name}", parameter) for key in sorted(keys)
            }
    for job, state in zip(jobs, states, strict=True):
        job.seconds = float(state["seconds"])
    return int(states[0]["epoch"])


def _write(
    job: _Job,
    net: nn.Sequential,
    epochs: int,
    train_accuracy: float,
    test_accuracy: float,
    n: int,
    device: torch.device,
) -> None:
    """The weights, then the card that vouches for them; a run that is cut off in between trains again."""
    recipe, dataset = job.recipe, job.dataset
    store.write_weights(job.path, net.state_dict())
    mean, std = normalisation(dataset, recipe)
    card = {
        "name": job.name,
        "net": recipe.net,
        "options": dict(recipe.options),
        "layers": [k for k, _ in net.named_children()],
        "layer": _explained(job, net),
        "input_shape": list(dataset.input_shape),
        "classes": list(dataset.classes),
        "mean": mean,
        "std": std,
        "parameters": nets.parameter_count(net),
        "pretrained": job.source,
        "dataset": dataset.name,
        "data": data_hash(dataset),
        "images": {"train": n, "test": dataset.size("test")},
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
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }
    store.write_json(job.card, card)
    job.partial.unlink(missing_ok=True)
