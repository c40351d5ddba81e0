"""Network, images and method are objects in this process, as in a notebook: what ``glassbench`` in Python calls.

    found = evaluate(GradNorm(), network=net, images=x, labels=y, layer="layer4")
    found.board                                              # also shown as a table in a notebook
    score(maps, network=net, images=x, labels=y)             # a frame, a line per metric

Idea: the same fitting, explaining, contract and metrics as on the boards, without files and without worker processes: a
class that was defined in a notebook cannot be imported by one. The method is placed among the controls and the CAMs
that cost one backward pass. What the method raises is raised; what the contract refuses is an ``InputError``.

The network is copied; the caller's own keeps its mode, gradients and hooks. Random numbers come from seeds named after
the method.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from benchmark import store
from benchmark.api import (
    Batch,
    CallingSpec,
    Explanation,
    MetricSpec,
    NotApplicable,
    Target,
)
from benchmark.engine import one_line
from benchmark.jobs.own import BESIDES
from benchmark.leaderboard import places, placing, tables
from benchmark.leaderboard.render import gallery
from benchmark.methods import registry
from benchmark.methods.contract import (
    check_explanation,
    check_order,
    guard,
    pixels,
    strict,
)
from benchmark.methods.registry import MethodRef
from benchmark.pipeline.again import _PRECOMPUTED, Fitted
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.profile import Again
from benchmark.pipeline.protocol import explained, summary
from benchmark.pipeline.words import families
from benchmark.utils import plot_style
from benchmark.utils.errors import InputError, UsageError
from benchmark.utils.near_names import UnknownName, pick
from benchmark.utils.seeds import generator
from benchmark.zoo.following import Following
from benchmark.zoo.own import CHECKED, OwnNetwork, check_pass, check_split, target_of

PROFILE, DATASET = "python", "images"
_ANNOTATIONS = ("boxes", "parts", "part_visible", "part_masks", "part_importance")
_KEY = ["metric", "metric_setting"]

Array = np.ndarray
Images = Array | Tensor | Batch


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What ``evaluate`` found; a notebook shows it as tables.

    Attributes:
        rows: one line per method, metric and setting of the metric, as in ``docs/rows.md``.
        board: the same with intervals, ranks and marks, best first.
        differences: by label of an evaluated method, how it compares with each other one (``placing.differences``).
        explanations: by method's name, what it gave; without those that are not applicable.
        target: the network as the methods saw it.
        images: the explained images.
    """

    rows: pd.DataFrame
    board: pd.DataFrame
    differences: Mapping[str, pd.DataFrame]
    explanations: Mapping[str, Explanation] = field(repr=False)
    target: Target = field(repr=False)
    images: Batch = field(repr=False)

    def table(self, track: str = "heatmap") -> pd.DataFrame:
        """Methods across, best first; down their place (by the tables that count) and the mean of each metric.

        Raises:
            InputError: none of the methods is on that track.
        """
        known = {name: name for name in tables.tracks(self.board)}
        with _one_line():
            pick(track, known, "track of these methods:")
        lines = self.board[self.board["track"] == track]
        lines = lines[lines["status"] == "ok"]
        titles = list(map(tables.title, lines["metric"], lines["metric_setting"]))
        arrows = list(map(tables.arrow, lines["better"]))
        lines = lines.assign(row=[f"{a} {b}" for a, b in zip(titles, arrows)])
        means = lines.pivot(index="row", columns="label", values="mean")
        placed = places.of(places.places(self.board), track).set_index("label")
        labels = [*placed.index, *means.columns.difference(placed.index)]
        first = placed[["place"]].T.reindex(columns=labels)
        means = means.loc[lines["row"].unique(), labels]
        table = pd.concat([first, means])
        return table.rename_axis(index=None, columns=None)

    def figure(self, images: int = 6) -> Figure:
        """The first images with the heat maps of every method; a notebook draws it, whatever its backend."""
        batch = self.images[: max(1, images)]
        maps = {}
        for name, e in self.explanations.items():
            if e.heatmaps is not None:
                maps[name] = e.heatmaps[: len(batch)]
        predicted = self.target(batch).argmax(1).tolist()
        entry = {
            "images": (batch.x.cpu().numpy() * 255).round().astype(np.uint8),
            "ids": batch.ids.tolist(),
            "maps": maps,
            "true": [self.target.classes[c] for c in batch.y.tolist()],
            "predicted": [self.target.classes[c] for c in predicted],
        }
        figure = gallery.figure(entry)
        figure._repr_png_ = functools.partial(plot_style.save, figure, "png")
        return figure

    def __repr__(self) -> str:
        parts = []
        for track in tables.tracks(self.board):
            title, _ = tables.TRACKS[track]
            parts.append(f"{title}\n{self.table(track).to_string(float_format='%.4g')}")
        return "\n\n".join([*parts, *self.notes()])

    def _repr_html_(self) -> str:
        parts = []
        for track in tables.tracks(self.board):
            title, _ = tables.TRACKS[track]
            table = self.table(track)  # names are escaped
            parts.append(f"<p><b>{title}</b></p>{table.to_html(float_format='%.4g')}")
        notes = pd.DataFrame({"not on the board": self.notes()})
        if len(notes):
            parts.append(notes.to_html(index=False))
        return "\n".join(parts)

    def notes(self) -> list[str]:
        """What is missing from the board, and why, a line each."""
        lines = []
        for line in tables.losses(self.board).itertuples():
            lines.append(f"{line.methods}, {line.metrics}: {line.reason}")
        return lines


def evaluate(
    method: Any,
    *,
    network: nn.Module,
    images: Images,
    labels: Any = None,
    layer: str | None = None,
    reference: Images | None = None,
    reference_labels: Any = None,
    classes: Sequence[str] | None = None,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    tokens: str | None = None,
    metrics: Sequence[str | MetricSpec] | None = None,
    besides: bool = True,
) -> Evaluation:
    """Explain images by a method, score the explanation by every metric, and place it among controls and CAMs.

    Everything runs in this process.

    Args:
        method: an object with ``fit`` and ``explain`` or its class; text as on the command line (``mine.py:Mine``,
            ``captum:Saliency``); or a list of these.
        network: maps (n, c, h, w) to logits (n, C). It is copied.
        images: (n, c, h, w), float in [0, 1] or uint8 in [0, 255]; or a ``Batch``, with labels and annotations.
        labels: (n,) whole numbers in [0, C), the true classes.
        layer: the layer that is explained, by its dotted name (default: the last one with positions).
        reference, reference_labels: images to fit on, and their classes (default: the explained images).
        classes: the C names (default: "0", "1", ...).
        mean, std: what the network normalises pixels in [0, 1] by, a number for each channel or one for all.
        tokens: the grid of a layer of tokens, ``14x14`` (default: found).
        metrics: names, or metrics of your own (default: all that see a finished explanation). One that calls the
            method again is computed on all images.
        besides: also run ``jobs.own.BESIDES``.

    Raises:
        InputError: network, images, labels, layer or method cannot be used; one line with the reason.
    """
    batch = _batch(images, labels, "images")
    target = Following.of(_target(network, batch, layer, classes, mean, std, tokens))
    batch = _checked(batch, target, "labels")
    with _one_line(f"{target.name} "):
        check_split(target, batch.x[:CHECKED])
    fit_on = batch
    if reference is not None:
        fit_on = _batch(reference, reference_labels, "reference")
        fit_on = _checked(fit_on, target, "reference_labels")
    methods = _methods(method)
    mine = list(methods)
    if besides:
        methods = _besides() | methods
    specs = _specs(metrics)
    scored, explanations = [], {}
    for key, one in methods.items():
        called = None
        if any(isinstance(spec, CallingSpec) for spec in specs):
            called = _called(one, target, fit_on, key in mine)
        e, meta = _explained(one, target, fit_on, batch, key in mine)
        scored += _measured(one, specs, e, meta, target, batch, called)
        if meta["status"] == "ok":
            explanations[one.name] = e
    rows, values = _frames(scored, batch)
    contests = tables.contests(tables.labelled(rows), values)
    board = tables.board(contests, families())
    given = [name for name, _ in mine]
    labels = board.loc[board["method"].isin(given), "label"].unique()
    compared = {label: placing.differences(contests, label) for label in labels}
    return Evaluation(rows, board, compared, explanations, target, batch)


def score(
    heatmaps: Any,
    *,
    network: nn.Module,
    images: Images,
    labels: Any = None,
    layer: str | None = None,
    classes: Sequence[str] | None = None,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    tokens: str | None = None,
    metrics: Sequence[str | MetricSpec] | None = None,
) -> pd.DataFrame:
    """Score heat maps, made by whatever means, by every metric that judges them.

    Args:
        heatmaps: (n, h, w), larger = more important; or an ``Explanation``.
        others: as of ``evaluate``.

    Returns:
        a line per metric and setting: metric, metric_setting, value (mean over images), n (images), better, unit,
        status (``ok``, ``failed`` or ``not applicable``), reason.

    Raises:
        InputError: as ``evaluate``; maps that are no finite numbers, or of another number or size than the images.
    """
    batch = _batch(images, labels, "images")
    target = _target(network, batch, layer, classes, mean, std, tokens)
    batch = _checked(batch, target, "labels")
    with _one_line("heatmaps: "):
        e = heatmaps
        if not isinstance(e, Explanation):
            e = Explanation(heatmaps=heatmaps)
        check_explanation(e, target, batch)
    specs = [spec for spec in _specs(metrics) if spec.offered <= e.offers()]
    scored = _measured(_Given(), specs, e, {"status": "ok"}, target, batch)
    rows, _ = _frames(scored, batch)
    shown = [*_KEY, "value", "n", "better", "unit", "status", "reason"]
    return rows[shown]


class _Given:
    """The method of explanations that are given."""

    name = "given"


# --------------------------------------------------------------------------------------------- what is given


@contextlib.contextmanager
def _one_line(before: str = "") -> Iterator[None]:
    """Turns what this project refuses into an ``InputError``."""
    try:
        yield
    except InputError:
        raise
    except (UsageError, UnknownName, ValueError, TypeError) as error:
        raise InputError(before + " ".join(str(error).split())) from None


def _batch(images: Images, labels: Any, what: str) -> Batch:
    """Images and labels as a Batch of pixels in [0, 1], with ids.

    Raises:
        InputError: they are not.
    """
    given: dict[str, Any] = {}
    if isinstance(images, Batch):
        given = {name: getattr(images, name) for name in _ANNOTATIONS}
        labels = images.y if labels is None else labels
        given["chunk"], images = images.chunk, images.x
    if labels is None:
        name = "labels" if what == "images" else f"{what}_labels"
        raise InputError(f"give {name}, the class of each of the {what}")
    x = _pixels(images, what)
    y = _numbers(labels, "labels")
    if y.shape != (len(x),):
        shape = tuple(y.shape)
        raise InputError(
            f"labels have shape {shape}; give one for each of {len(x)} images"
        )
    if y.is_floating_point() and not torch.equal(y, y.round()):
        raise InputError("labels are not whole numbers; give the index of each class")
    return Batch(x, y.long(), torch.arange(len(x)), **given)


def _numbers(values: Any, what: str) -> Tensor:
    """Values as a tensor.

    Raises:
        InputError: they are not numbers.
    """
    try:
        found = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        kind = type(values).__name__
        raise InputError(
            f"{what} are a {kind}; give an array or a tensor of numbers"
        ) from None
    if found.is_complex():
        raise InputError(f"{what} are complex numbers")
    return found.detach()


def _pixels(images: Any, what: str) -> Tensor:
    """(n, c, h, w) float32 in [0, 1]."""
    x = _numbers(images, what)
    shape = tuple(x.shape)
    if x.ndim != 4 or 0 in shape:
        raise InputError(
            f"{what} have shape {shape}; give (images, channels, height, width)"
        )
    if shape[-1] in (1, 3) and shape[1] not in (1, 3):
        raise InputError(
            f"{what} have shape {shape}: channels come last; permute(0, 3, 1, 2) moves them"
        )
    x = x.float() / 255 if x.dtype == torch.uint8 else x.float().clone()
    if not x.isfinite().all():
        raise InputError(f"{what} hold values that are NaN or infinite")
    low, high = x.min().item(), x.max().item()
    if low < 0 or high > 1:
        raise InputError(
            f"{what} hold values from {low:.3g} to {high:.3g}; give pixels in [0, 1] (or uint8), "
            "and what the network normalises by as mean and std"
        )
    return x


def _target(
    network: nn.Module,
    batch: Batch,
    layer: str | None,
    classes: Sequence[str] | None,
    mean: Sequence[float],
    std: Sequence[float],
    tokens: str | None,
) -> Target:
    """The target of a copy of the network.

    Raises:
        InputError: it cannot be explained.
    """
    name = type(network).__name__
    with _one_line(f"{name} "):
        mean, std = _listed(mean), _listed(std)
        if len(mean) != len(std) or min(std, default=0) <= 0:
            raise InputError(
                "needs one number for each channel in mean and in std, those in std above 0"
            )
        recipe = OwnNetwork(name, None, layer, mean, std, tokens=tokens)
        net = _copied(network)
        shape = tuple(batch.x.shape[1:])
        check_pass(net, shape)
        classes = classes or [str(c) for c in range(_outputs(net, batch))]
        return target_of(recipe, net, shape, list(map(str, classes)), name)


def _listed(values: Any) -> list[float]:
    """A number, an array or a tensor as a list of numbers."""
    return np.asarray(values, np.float64).reshape(-1).tolist()


def _copied(network: Any) -> Any:
    net = getattr(network, "_orig_mod", network)  # of torch.compile
    if not isinstance(net, nn.Module):
        return net
    memo = {}  # what a pass has left in attributes, which deepcopy refuses
    for module in net.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(net, memo)
    except Exception as error:
        raise InputError(f"cannot be copied: {one_line(error)}") from None


def _outputs(net: Any, batch: Batch) -> int:
    """How many logits it gives; where it gives none, ``target_of`` says why."""
    try:
        device = next((p.device for p in net.parameters()), torch.device("cpu"))
        with torch.no_grad():
            return net.eval()(batch.x[:2].to(device)).shape[1]
    except Exception:
        return 2


def _checked(batch: Batch, target: Target, what: str) -> Batch:
    """The batch on the target's device.

    Raises:
        InputError: labels that are no classes of the network; images of another size.
    """
    low, high, classes = int(batch.y.min()), int(batch.y.max()), len(target.classes)
    if low < 0 or high >= classes:
        raise InputError(
            f"{what} hold {low}..{high}; the network has {classes} classes, from 0"
        )
    shape = tuple(batch.x.shape[1:])
    if shape != target.input_shape:
        raise InputError(
            f"reference images have shape {shape}, the explained ones {target.input_shape}"
        )
    moved = {}
    for name, value in vars(batch).items():
        if isinstance(value, Tensor):
            moved[name] = value.to(target.device)
    return Batch(**moved, chunk=batch.chunk)


Named = dict[tuple[str, str], Any]  # methods by name and setting


def _methods(given: Any) -> Named:
    """The methods that are given.

    Raises:
        InputError: one is none, or two have the same name and settings.
    """
    found: Named = {}
    for one in given if isinstance(given, list | tuple) else [given]:
        with _one_line():
            method = _method(one)
            name, _, setting = registry.describe(method)
        if (name, setting) in found:
            raise InputError(
                f"two methods are called {name!r} with the same settings; name one otherwise"
            )
        found[name, setting] = method
    if not found:
        raise InputError("give a method")
    return found


def _method(given: Any) -> Any:
    if isinstance(given, str):
        return MethodRef.parse(given, base=Path.cwd()).build()
    if isinstance(given, type):
        name = given.__name__
        try:
            given = given()
        except TypeError as error:
            raise InputError(
                f"{name}() fails ({error}); give an object of the class"
            ) from None
    return registry.as_method(given, type(given).__name__)


def _besides() -> Named:
    found = {}
    for entry in BESIDES:
        method = MethodRef.parse(entry).build()
        name, _, setting = registry.describe(method)
        found[name, setting] = method
    return found


def _specs(wanted: Sequence[str | MetricSpec] | None) -> list[MetricSpec]:
    """The metrics of these names, or themselves; by default those that see a finished explanation."""
    if wanted is None:
        return list(registry.scoring_metrics().values())
    known = registry.metrics()
    with _one_line():
        found = []
        for one in wanted:
            is_spec = isinstance(one, MetricSpec)
            found.append(one if is_spec else pick(one, known, "metric"))
        return found


# --------------------------------------------------------------------------------------------- explain and measure


def _explained(
    method: Any, target: Target, reference: Batch, batch: Batch, external: bool
) -> tuple[Explanation, dict[str, str]]:
    """The explanation, and its status and reason. An external method is held to the contract of user's files.

    Raises:
        InputError: it breaks the contract.
    """
    seeds = DATASET, target.name, 0, method.name
    watch = contextlib.nullcontext()
    try:
        if external:
            with _one_line(f"{method.name}: "):
                batch, reference = pixels(batch, method), pixels(reference, method)
            watch = strict(batch, reference)
        with _contract(method.name):
            with guard(target), watch:
                fitted = method.fit(target, reference, generator("fit", *seeds))
                e = fitted.explain(target, batch, generator("explain", *seeds))
            check_explanation(e, target, batch)
            if external:
                with guard(target):
                    check_order(fitted, e, target, batch, *seeds)
    except NotApplicable as reason:
        text = " ".join(str(reason).split())
        return Explanation(), {"status": "not applicable", "reason": text}
    return e, {"status": "ok", "reason": ""}


@contextlib.contextmanager
def _contract(name: str) -> Iterator[None]:
    """Turns what this project refuses into an ``InputError``; what the method itself raises passes."""
    try:
        yield
    except ValueError as error:
        trace = error.__traceback__
        while trace.tb_next:
            trace = trace.tb_next
        place = trace.tb_frame.f_globals.get("__name__", "")
        if not place.startswith("benchmark."):
            raise
        raise InputError(f"{name}: {' '.join(str(error).split())}") from None


def _called(method: Any, target: Following, reference: Batch, external: bool) -> Fitted:
    """A method that is an object, as metrics call it again; fitted when the first one does.

    Raises:
        InputError: it cannot be copied.
    """
    try:
        fresh = copy.deepcopy(method)
    except Exception as error:
        raise InputError(
            f"{method.name} cannot be copied, as metrics that call it again need it: {one_line(error)}"
        ) from None
    slug = _Slug(method.name)
    cell = Cell(PROFILE, DATASET, target.name, 0, slug, refits=Again().refits)
    return Fitted(
        cell,
        target,
        functools.partial(copy.deepcopy, fresh),
        lambda: reference,
        external=external,
        see=lambda net: net if net is target else Following.of(net),
    )


@dataclass(frozen=True)
class _Slug:
    """Stands for the reference of a method, which seeds are named by."""

    slug: str


Scored = tuple[dict[str, Any], Array]  # a row, and its values per image


def _measured(
    method: Any,
    specs: Sequence[MetricSpec],
    e: Explanation,
    meta: Mapping[str, str],
    target: Target,
    batch: Batch,
    called: Fitted | None = None,
) -> list[Scored]:
    """A row per metric and setting, and the values (n,) that it is the mean of, (0,) where there are none.

    Args:
        called: the method, for metrics that call it again.
    """
    name, paper, setting = registry.describe(method)
    base = {"profile": PROFILE, "paper": paper, "dataset": DATASET, "seed": 0}
    base |= {"target": target.name, "method": name, "setting": setting}
    base |= {"value": np.nan, "n": 0, "reason": "", **meta}
    scored = []
    for spec in specs:
        declared = {key: getattr(spec, key) for key in ("track", "better", "unit")}
        declared |= {"metric": spec.name, "metric_version": spec.version}
        for options in spec.settings:
            row = base | declared | {"metric_setting": store.setting_text(options)}
            values = np.empty(0)
            if meta["status"] == "ok":
                found, values = _values(spec, options, e, name, target, batch, called)
                row |= found
            scored.append((row, values))
    return scored


def _values(
    spec: MetricSpec,
    options: Mapping[str, Any],
    e: Explanation,
    name: str,
    target: Target,
    batch: Batch,
    called: Fitted | None,
) -> tuple[dict[str, Any], Array]:
    """What a row says of its values, and the values: (n,), or (0,) where there are none."""
    lacking = sorted(spec.offered - e.offers())
    if lacking:
        return _without("not applicable", f"offers no {', '.join(lacking)}")
    lacking = sorted(spec.annotations - batch.annotations())
    if lacking:
        return _without("not applicable", f"images have no {', '.join(lacking)}")
    seeds = ("score", spec.name, DATASET, target.name, 0, name)
    rows, part, images = explained(e, batch)
    if isinstance(spec, CallingSpec):
        if called is None:
            return _without("not applicable", _PRECOMPUTED)
        seeds = ("again", DATASET, target.name, 0)  # the same for all methods
        options = {**options, "explain": called.counted(spec, len(images))}
    rng = generator(*seeds)
    try:
        found = np.asarray(spec(part, target, images, rng, **options), np.float64)
    except NotApplicable as reason:
        return _without("not applicable", str(reason))
    except Exception as error:
        return _without("failed", one_line(error))
    if found.shape != (len(images),):
        return _without(
            "failed", f"returned shape {found.shape} for {len(images)} images"
        )
    unknown = np.isinf(found) if spec.partial else ~np.isfinite(found)
    if unknown.any():
        return _without(
            "failed", f"NaN or infinite for {unknown.sum()} of {len(images)} images"
        )
    if np.isnan(found).all():
        return _without("not applicable", "to none of the images")
    values = np.full(len(batch), np.nan)
    values[rows] = found
    value, n = summary(values)
    return {"value": value, "n": n}, values


def _without(status: str, reason: str) -> tuple[dict[str, Any], Array]:
    text = " ".join(reason.split())
    return {"status": status, "reason": text}, np.empty(0)


def _frames(
    scored: Sequence[Scored], batch: Batch
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows, and the values per image behind them: columns ROW_KEYS, image, value."""
    rows = pd.DataFrame([row for row, _ in scored], columns=list(store.ROW_COLUMNS))
    parts = []
    for row, values in scored:
        if len(values):
            key = {column: row[column] for column in store.ROW_KEYS}
            known = key | {"image": batch.ids.tolist(), "value": values}
            parts.append(pd.DataFrame(known))
    columns = [*store.ROW_KEYS, "image", "value"]
    values = (
        pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    )
    return store.tidy_rows(rows), values
