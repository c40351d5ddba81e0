"""One training loop for every network.

    card = train(dataset, {"net": "mlp", "epochs": 20}, seed=0, path=Path("mlp-0.safetensors"))
    target = load(Path("mlp-0.safetensors"))

The pixels lie on the device as uint8 and are normalised batch by batch. Convolutions run channels-last, which is up to
1.6 times faster even on one CPU thread; on a GPU the arithmetic is bf16 where autocast allows it. With
``freeze_until`` the frozen prefix psi is computed once and only the rest G is trained, on psi(x). Every random draw
(weights, order, dropout, augmentation) follows a seed named by data set, seed and epoch, so that an interrupted run
that continues from its last saved epoch ends with the same bytes.

``train_many`` trains K networks of one recipe as one batched network (``networks``). That is for a GPU, where small
networks wait for kernel launches; on a CPU, processes side by side are faster (``speed/zoo.py``). Dropout draws other
masks than a single run does; all else agrees to rounding.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark import store
from benchmark.api import Target
from benchmark.data import Dataset
from benchmark.utils.accelerator import is_accelerator
from benchmark.zoo import checkpoints, nets, own, pretrained
from benchmark.zoo.checkpoints import Job
from benchmark.zoo.inputs import Cache, Inputs, augment, draw, features, pixels
from benchmark.zoo.networks import Networks

SAVE_SECONDS = 20.0  # an interrupted run loses at most this and the current epoch

Progress = Callable[
    [str, int, int, float], None
]  # (name, epochs done, epochs, mean loss)


class TrainingError(Exception):
    """A training that cannot give a usable network; the message says what to change."""


# --------------------------------------------------------------------------------------------- train and load


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

    Returns at once if both are there and nothing that they depend on has changed; continues an interrupted run.
    ``code`` is a hash of the code that trains; weights made under another hash are trained again.

    Raises:
        UnknownName, ValueError: a bad recipe.
        TrainingError: the loss is not finite.
        StoreError: pretrained weights that are not available.
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
    """Train one network for each job (recipe, seed, path), as ``train`` does.

    Args:
        batched: networks of one recipe train as one (default: on a GPU).

    Returns:
        the cards, in the order of the jobs. The card of a network that was trained now has ``seconds``, including
        those of the interrupted run that it continued. The file has none: the same network is the same file, however
        long it took.
    """
    batched = is_accelerator(device) if batched is None else batched
    todo = [Job.of(dataset, *job, code) for job in jobs]
    cache: Cache = {}  # pixels and frozen features, shared by the jobs
    with _deterministic(device):
        for group in _groups(todo, batched):
            _fit(group, torch.device(device), progress, cache)
    cards = []
    for job in todo:
        card = store.read_json(job.card)
        if job.seconds:
            card |= {"seconds": job.seconds}
        cards.append(card)
    return cards


def load(path: Path, device: str = "cpu") -> Target:
    """The trained network of a file that ``train`` wrote, its batch norms folded into the convolutions before them.

    Raises:
        StoreError: weights or card are missing or damaged, or do not belong together.
    """
    path, card_path = Path(path), Path(path).with_suffix(".json")
    card = store.read_json(card_path)
    reason = _why_no_network(card)
    if reason is not None:
        raise store.StoreError(
            f"{path} is not a trained network: {reason}; correct the recipe and train again"
        )
    state = store.read_weights(path)
    again = store.maker(path) or "train again"
    if pretrained.file_hash(path) != card.get("sha256"):
        raise store.StoreError(
            f"{path} is damaged (not the weights of {card_path.name}); {again}"
        )
    if "use" in card:
        return own.load(card, state, device)
    try:
        return _target(card, state, device)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())[:200]
        raise store.StoreError(
            f"{card_path} does not fit its weights ({text}); delete both and {again}"
        ) from None


def _why_no_network(card: Any) -> str | None:
    """The reason if this is not the card of a trained network."""
    if not isinstance(card, dict):
        return "its card is not a mapping"
    return str(card["failed"]) if "failed" in card else None


def _target(card: Mapping[str, Any], state: dict[str, Tensor], device: str) -> Target:
    net = nets.build(
        card["net"], card["input_shape"], len(card["classes"]), card["options"]
    )
    net.load_state_dict(state, assign=True)
    in_rows = device == "cpu" and nets.NETS[card["net"]].contiguous
    layout = torch.contiguous_format if in_rows else torch.channels_last
    return Target(
        nets.fold_norm(net).to(device, memory_format=layout),
        name=card["name"],
        classes=card["classes"],
        input_shape=card["input_shape"],
        mean=card["mean"],
        std=card["std"],
        pixel_mean=card["pixel_mean"],
        pixel_std=card["pixel_std"],
        layer=card["layer"],
    )


def _groups(jobs: list[Job], batched: bool) -> list[list[Job]]:
    """The jobs that are not done, by what trains together: one recipe and, if interrupted, the same epoch."""
    groups: dict[Any, list[Job]] = {}
    for number, job in enumerate(jobs):
        if checkpoints.is_done(job):
            continue
        group: Any = number
        if batched:
            state = checkpoints.read_partial(job)
            epoch = int(state["epoch"]) if state else 0
            recipe = json.dumps(job.recipe.decisive(), sort_keys=True, default=str)
            group = (recipe, epoch)
        groups.setdefault(group, []).append(job)
    return list(groups.values())


# --------------------------------------------------------------------------------------------- the loop


def _fit(
    jobs: list[Job], device: torch.device, progress: Progress | None, cache: Cache
) -> None:
    """Train jobs of one recipe together and write each network as soon as it is done."""
    run = _Run(jobs, device, cache)
    for epoch in range(run.epoch, run.recipe.epochs):
        loss = _epoch(jobs, run.model, run.optimiser, run.data, epoch, device)
        run.epoch = epoch + 1
        run.drop_diverged(loss)
        for k, job in run.waiting.items():
            if progress:
                progress(job.name, run.epoch, run.recipe.epochs, loss[k])
        run.finish_good()
        if not run.waiting:
            break
        run.save()
    if run.waiting:
        run.finish_all()
    if run.diverged:
        raise TrainingError("; ".join(run.diverged))


class _Run:
    """The networks of one recipe while they train together, and which of them still do."""

    def __init__(self, jobs: list[Job], device: torch.device, cache: Cache) -> None:
        self.begin = time.perf_counter()
        self.recipe = jobs[0].recipe
        self.device = device
        self.nets = [_start(job, device) for job in jobs]
        self.cut = self.recipe.frozen_layers(self.nets[0])
        data = pixels(jobs[0].dataset, self.recipe, device, cache)
        if self.cut:
            frozen = self.nets[0][: self.cut]
            data = features(frozen, data, cache)
        self.data = data
        trained = [net[self.cut :] for net in self.nets]
        self.model = Networks(trained)
        parameters = list(self.model.parameters.values())
        self.optimiser = self.recipe.optimiser_for(parameters)
        # epochs done
        self.epoch = checkpoints.resume(jobs, self.model, self.optimiser)
        self.waiting = dict(
            enumerate(jobs)
        )  # the jobs that are not finished, by their place
        self.diverged: list[str] = []  # a message for each network that diverged
        self.saved = time.perf_counter()

    def drop_diverged(self, loss: list[float]) -> None:
        """Give up the networks whose loss (K,) or weights are no longer finite."""
        for k, job in list(self.waiting.items()):
            if math.isfinite(loss[k]) and _is_finite(self.model.member(k)):
                continue
            del self.waiting[k]
            job.partial.unlink(missing_ok=True)
            self.diverged.append(
                f"{job.name} diverged in epoch {self.epoch} (loss {loss[k]}); "
                f"lower lr in its recipe"
            )

    def finish_good(self) -> None:
        """At an epoch that checks the training accuracy, finish the networks that reach it."""
        goal = self.recipe.stop_at_train_accuracy
        if goal is None or not self.waiting or self.epoch % self.recipe.check_every:
            return
        reached = self._train_accuracy()
        good = [k for k in self.waiting if reached[k] >= goal]
        if good:
            self._finish(good, self.epoch, reached)

    def finish_all(self) -> None:
        """Finish all networks, after the last epoch."""
        self._finish(list(self.waiting), self.recipe.epochs, self._train_accuracy())

    def _train_accuracy(self) -> list[float]:
        return self.model.accuracy(self.data, self.data.x_train, self.data.y_train)

    def _finish(
        self, which: list[int], epochs: int, train_accuracy: list[float]
    ) -> None:
        """Write the networks ``which``, trained for so many epochs."""
        test_accuracy = self.model.accuracy(
            self.data, self.data.x_test, self.data.y_test
        )
        for k in which:
            job, net = self.waiting.pop(k), self.nets[k]
            net[self.cut :].load_state_dict(self.model.member(k))
            job.seconds += time.perf_counter() - self.begin
            checkpoints.write(
                job,
                net,
                self.device,
                epochs=epochs,
                train_images=len(self.data.y_train),
                train_accuracy=train_accuracy[k],
                test_accuracy=test_accuracy[k],
            )

    def save(self) -> None:
        """Save the state of all networks, if the last time is long enough ago."""
        if time.perf_counter() - self.saved < SAVE_SECONDS:
            return
        for k, job in self.waiting.items():
            seconds = job.seconds + time.perf_counter() - self.begin
            checkpoints.write_partial(
                job, self.model, k, self.optimiser, self.epoch, seconds
            )
        self.saved = time.perf_counter()


def _is_finite(state: Mapping[str, Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in state.values())


def _start(job: Job, device: torch.device) -> nn.Sequential:
    """The network before its first step."""
    recipe, dataset = job.recipe, job.dataset
    seed, classes = job.seed_for("init", recipe.net), len(dataset.classes)
    net = nets.build(
        recipe.net, dataset.input_shape, classes, recipe.options, seed=seed
    )
    if recipe.pretrained:
        state, job.source = pretrained.weights(recipe.net, recipe.pretrained)
        # All but the last layer; from_torchvision has checked that none is missing.
        net.load_state_dict(state, strict=False)
    recipe.explained_layer(net)  # refuses one that the network does not have
    for module in net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return net.to(device, memory_format=torch.channels_last)


def _epoch(
    jobs: list[Job],
    model: Networks,
    optimiser: torch.optim.Optimizer,
    data: Inputs,
    epoch: int,
    device: torch.device,
) -> list[float]:
    """One pass over the training images, each network in its own order; the mean loss of each."""
    recipe, n = jobs[0].recipe, len(data.y_train)
    batches = _batches(jobs, n, epoch, device)
    augmented = recipe.flip or recipe.shift
    if augmented:
        flip, move = _draws(jobs, n, epoch, device)
    model.first.train()
    total, start = torch.zeros(len(jobs), device=device), 0
    with nets.seeded(jobs[0].seed_for("dropout", epoch), device):
        for number, rows in enumerate(batches):  # (K, b)
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate(epoch + number / len(batches))
            x, y = data.x_train.index_select(0, rows.flatten()), data.y_train[rows]
            stop = start + rows.shape[1]
            if augmented:
                x = augment(
                    x, flip[:, start:stop].flatten(), move[:, start:stop].flatten(0, 1)
                )
            x = data(x)
            if x.ndim == 4:
                x = x.to(memory_format=torch.channels_last)
            loss = model.gradients(x, y)
            optimiser.step()
            total += loss * rows.shape[1]
            start = stop
    return (total / n).tolist()


def _batches(jobs: list[Job], n: int, epoch: int, device: torch.device) -> list[Tensor]:
    """The numbers (K, b) of the images of each batch, for each network in its own order."""
    orders = []
    for job in jobs:
        rng = job.rng("order", epoch)
        orders.append(torch.randperm(n, generator=rng))
    order = torch.stack(orders).to(device)  # (K, n)
    batches = list(order.split(jobs[0].recipe.batch, dim=1))
    if batches[-1].shape[1] == 1 and len(batches) > 1:
        # batch norm needs two images
        last = torch.cat(batches[-2:], dim=1)
        batches[-2:] = [last]
    return batches


def _draws(
    jobs: list[Job], n: int, epoch: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The augmentation of one pass, in each network's own order: flip (K, n) and move (K, n, 2)."""
    flips, moves = [], []
    for job in jobs:
        rng = job.rng("augment", epoch)
        flip, move = draw(job.recipe, n, rng)
        flips.append(flip)
        moves.append(move)
    return torch.stack(flips).to(device), torch.stack(moves).to(device)


@contextmanager
def _deterministic(device: str) -> Iterator[None]:
    """On an accelerator: deterministic algorithms where they exist; the settings are restored at the end."""
    if not is_accelerator(device):
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
