"""Checks a metric on toy data, in seconds, each finding with the line to change: the laws that fit what it needs.

    for line in report(check_metric("my.py:sharpness")):
        print(line)

Idea: the metric scores drawn explanations of the toy images of ``check``. It must give one plain number per image,
change nothing, and give the same numbers again, whatever the order of the images. What is no mistake by itself is
warned of: values that depend on the other images or on the scale of a map, that leave the range of their unit, needs
that are declared and not read, and a direction by which a random map beats the true one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch

from benchmark import store
from benchmark.api import Array, Batch, CallingSpec, Explanation, MetricSpec
from benchmark.jobs.check import HINTS, SHAPES, Checker, Finding, Stop, findings
from benchmark.jobs.toy import annotated, counted, explanation, toy
from benchmark.methods import metric_contract
from benchmark.methods.line_trace import Trace, disagreement, whole
from benchmark.methods.metric_refs import MetricRef, checked, declared
from benchmark.utils.near_names import UnknownName
from benchmark.utils.seeds import generator

RANGES = {"percent": (0, 100), "fraction": (0, 1), "correlation": (-1, 1)}  # by unit
_MAPS = ("heatmaps", "concept_maps")
_FIELDS = frozenset(field.name for field in fields(Explanation)) - {"applies"}
_PARTS = dict.fromkeys(("part_visible", "part_masks"), "parts")  # needed as a whole
_ANNOTATIONS = frozenset({"boxes", "parts", "part_importance", *_PARTS})
_PACKAGE = str(Path(__file__).resolve().parent.parent)

_HINTS = {
    "e": "copy first: maps = e.heatmaps.copy()",
    "batch": "copy first: x = batch.x.clone()",
    "shape": "return one number per image, in their order: reduce over dim 1 and on, never over dim 0",
    "finite": "before dividing, treat what may be zero separately; "
    "or declare partial=True and return NaN for an image that the metric does not apply to",
    "deterministic": "take randomness from rng alone: "
    "not from the clock, the order of a set, a counter or a default_rng() of your own",
    "order": "value i belongs to image i: do not sort or shuffle the images",
    "others": "compute over the pixels of each image; tests between methods take images as independent",
    "scale": "methods have no common scale: divide each map by its maximum or its sum, or use ranks",
    "bounds": "correct the computation, or the declared range: @bounds(low, high) below @metric",
    "unit": "another unit, or the range in a line below @metric: @bounds(low, high), from benchmark.api",
    "unread": "name in needs only what is read: methods that lack it are left out",
    "unnamed": "name it in needs; other methods and images lack it, and then it is None",
    "direction": "is better= right?",
    "exit": "raise an exception that says why; benchmark.api.NotApplicable where there is nothing to say",
}


def check_metric(entry: str | Mapping[str, Any]) -> list[Finding]:
    """All findings on a metric, in the order of the checks.

    Raises:
        UnknownName: no such file or function, or a declaration that cannot be used.
    """
    ref = MetricRef.parse(entry, base=Path.cwd())
    if isinstance(declared(ref).spec, CallingSpec):
        raise UnknownName(
            f"{ref.label} calls the method again, of which check has none; "
            f"try it with a method: glassbench evaluate mine.py:Mine --metric {ref.use}"
        )
    return findings(check_here, ref)


def check_here(ref: MetricRef, until: float) -> None:
    """Run all checks in this process (see ``check.check_here``)."""
    _MetricChecker(ref).run(until)


@dataclass(frozen=True)
class _Run:
    """One call: what it was called with, its values (n,), and the trace of its lines."""

    trace: Trace
    values: np.ndarray


class _MetricChecker(Checker):
    """Runs the checks on one metric and writes the findings."""

    hints = HINTS | _HINTS
    spec: MetricSpec
    setting: Mapping[str, Any] = MappingProxyType({})

    def checks(self) -> None:
        with self.blamed("opening the file"):
            self.spec = self.ref.load()
            checked(self.spec)
        spec = self.spec
        needs = ", ".join(sorted(spec.needs)) or "nothing"
        text = f"{spec.name} needs {needs}; {spec.better} is better"
        self.fine(
            "declaration", f"{text}, {spec.unit or 'no unit'}, track {spec.track}"
        )
        self.low, self.high = np.inf, -np.inf  # of all values
        _Seen.folder, _Seen.names = str(self.path.parent), set()
        for shape in SHAPES:
            self.target, images, _ = toy(shape)
            self.batch = self.offered_images(annotated(images))
            self.e = self.offered(explanation(images, classes=4))
            for setting in spec.settings:
                self.setting = setting
                self.check_setting()
        self.check_bounds()
        self.check_needs()
        self.check_direction()

    def offered(self, e: Explanation) -> Explanation:
        """The part of an explanation that the metric declares to need; what it reads of it is noted."""
        kept = {name: getattr(e, name) for name in self.spec.offered}
        return _SeenExplanation(**kept)

    def offered_images(self, batch: Batch) -> Batch:
        """The images with the annotations that the metric declares to need; what it reads of them is noted."""
        lacking = {}
        for name in _ANNOTATIONS:
            if _PARTS.get(name, name) not in self.spec.annotations:
                lacking[name] = None
        batch = replace(batch, **lacking, memo={})
        batch.__class__ = _SeenBatch
        return batch

    # ----------------------------------------------------------------------------------------- one call

    def run_once(
        self,
        e: Explanation,
        batch: Batch,
        *,
        seed: str = "",
        what: str = "run",
        probe: bool = False,
    ) -> _Run:
        """Call the metric under the tracer, on images without what an earlier call has computed.

        Args:
            what: the name of the finding if it fails.
            probe: also look at what must not change.

        Raises:
            Stop: it raised, or returned no values; that is a finding.
        """
        images = batch[: len(batch)]
        watched = {}
        if probe:
            watched = metric_contract.inputs(e, self.target, images)
        function = self.spec.function
        trace = Trace(self.path, watched, function.__name__)
        rng = generator("check", "metric", seed)
        start = time.perf_counter()
        with self.blamed(what, trace=trace), trace:
            trace.result = function(e, self.target, images, rng, **self.setting)
        self.seconds = time.perf_counter() - start
        with self.blamed(what, trace.returned):
            values = metric_contract.values(self.spec, trace.result, len(images))
        known = values[~np.isnan(values)]
        self.low = min([self.low, *known])
        self.high = max([self.high, *known])
        return _Run(trace, values)

    def wrong(
        self, what: str, text: str, *, line: int | None = None, hint: str = ""
    ) -> None:
        if self.setting:
            text += f" (with {store.setting_text(self.setting)})"
        if "NoneType" in text and what != "opening the file" and self.unnamed:
            text += f"; it reads {_listed(self.unnamed)}, which needs= does not name"
            hint = "unnamed"
        super().wrong(what, text, line=line, hint=hint)

    @property
    def unnamed(self) -> set[str]:
        """What the metric has read although it does not declare to need it."""
        return {_PARTS.get(name, name) for name in _Seen.names} - self.spec.needs

    def warn(self, what: str, text: str, hint: str) -> None:
        self._write(Finding(what, text, hint=self.hints[hint], doubtful=True))

    # ----------------------------------------------------------------------------------------- laws

    def check_setting(self) -> None:
        """All laws for one setting on one toy network.

        Raises:
            Stop: the metric cannot go on.
        """
        first = self.run_once(self.e, self.batch, probe=True)
        for part, line in first.trace.changed().items():
            key, _, _ = part.partition(
                "."
            )  # e.heatmaps, batch.x, or a part of the target
            self.wrong(part, metric_contract.changes(part), line=line, hint=key)
        if not first.trace.changed():
            self.fine("untouched", "changes nothing that it is given")
        again = self.run_once(self.e, self.batch)
        milliseconds = 1e3 * self.seconds / len(self.batch)
        text = f"a number for each image, {milliseconds:.2g} ms per image"
        self.fine("values", text)
        self.check_extremes()
        if not _same(first.values, again.values, exact=True):
            line = disagreement(first.trace, again.trace, whole, 0.0)
            line = line or first.trace.returned
            text = "the same rng gives other values"
            self.wrong("deterministic", text, line=line, hint="deterministic")
            return
        self.fine("deterministic", "the same rng gives the same values")
        other = self.run_once(self.e, self.batch, seed="another", what="seed")
        if not _same(first.values, other.values):
            apart = np.nanmean(np.abs(first.values - other.values))
            self.fine("rng", f"draws from rng: {apart:.2g} apart between two seeds")
            return  # other images or maps draw other numbers
        self.check_order(first)
        self.check_scale(first)

    def check_extremes(self) -> None:
        """Explanations that methods do give: a network may not depend on an image at all, a label may not apply."""
        tried = {}
        for what, changed in self.extremes():
            e = replace(self.e, **changed)
            try:
                self.run_once(e, self.batch, what=what)
                tried[what] = None
            except Stop:  # it fails there, or says that it does not apply
                tried.pop(what, None)
        for what in tried:
            self.fine(what, "gives values there, too")

    def extremes(self) -> Iterator[tuple[str, dict[str, Array]]]:
        """(the name of the finding, fields of the explanation) of those that the metric needs."""
        offered = self.spec.offered
        maps = [name for name in _MAPS if name in offered]
        for value in (0.0, 1.0, -1.0) if maps else ():
            same = {name: np.full_like(getattr(self.e, name), value) for name in maps}
            yield "constant maps", same
        images = [name for name in ("decoded", "reference") if name in offered]
        if images:
            yield "perfect images", dict.fromkeys(images, self.batch.x.numpy())
        if "labels" in offered:
            yield "labels of -1", {"labels": np.full(len(self.batch), -1)}

    def check_order(self, first: _Run) -> None:
        """An image's value must not depend on its place, and should not on the other images."""
        n = len(self.batch)
        back = np.arange(n)[::-1].copy()
        reverse = self.run_once(self.e[back], self.batch[torch.from_numpy(back)])
        if not _same(first.values[back], reverse.values):
            text = "the images in reverse order get other values"
            line = first.trace.returned
            self.wrong("order", text, line=line, hint="order")
            return
        self.fine("order", "an image's value does not depend on its place")
        for start, stop in ((0, n // 2), (0, 1), (n - 1, n)):
            rows = slice(start, stop)
            part = self.run_once(self.e[rows], self.batch[rows], what="fewer images")
            if not _same(first.values[rows], part.values):
                self.warn("batch", "an image's value depends on the others", "others")
                return
        self.fine("batch", "an image's value does not depend on the others")

    def check_scale(self, first: _Run) -> None:
        """Maps times a positive number of each image's own mean the same."""
        maps = [name for name in _MAPS if name in self.spec.offered]
        if not maps:
            return
        factor = 2.0 ** (np.arange(len(self.batch)) % 7 - 3)  # (n,)
        scaled = {name: (getattr(self.e, name).T * factor).T for name in maps}
        found = self.run_once(replace(self.e, **scaled), self.batch, what="scaled maps")
        if _same(first.values, found.values):
            self.fine("scale", "does not depend on the scale of a map")
        else:
            self.warn("scale", "depends on the scale of a map", "scale")

    def check_bounds(self) -> None:
        """All values lie in the declared range, or else in that of the unit."""
        spec = self.spec
        text = f"values from {self.low:.3g} to {self.high:.3g}"
        given = getattr(spec.function, "bounds", None)
        low, high = given or RANGES.get(spec.unit, (-np.inf, np.inf))
        slack = 1e-6 * (1 + abs(self.low) + abs(self.high))
        if low - slack <= self.low and self.high <= high + slack:
            self.fine("bounds", text)
        elif given:
            super().wrong(
                "bounds", f"{text}, beyond [{low:g}, {high:g}]", hint="bounds"
            )
        else:
            text += f"; a {spec.unit} lies in [{low:g}, {high:g}]"
            self.warn("bounds", text, "unit")

    def check_needs(self) -> None:
        """What is declared is read, and what is read is declared."""
        unread = self.spec.needs - {_PARTS.get(name, name) for name in _Seen.names}
        if unread:
            self.warn("needs", f"never reads {_listed(unread)}", "unread")
        if self.unnamed:
            text = f"reads {_listed(self.unnamed)}, which needs= does not name"
            self.warn("needs", text, "unnamed")
        if not unread and not self.unnamed:
            self.fine("needs", "reads what it declares")

    def check_direction(self) -> None:
        """On a network whose truth is known, the true map should beat a random one."""
        if self.spec.offered != {"heatmaps"}:
            return
        self.target, images, _ = counted(SHAPES[-1])
        self.batch = self.offered_images(annotated(images))
        rng = generator("check", "random maps")
        n, _, h, w = images.x.shape
        row, column = np.divmod(np.arange(h * w).reshape(h, w), w)
        quadrant = row // (h // 2) * 2 + column // (w // 2)  # (h, w)
        true = (quadrant == images.y.numpy()[:, None, None]) * images.x.mean(1).numpy()
        means = []
        for maps in (true, rng.random((n, h, w))):
            e = self.offered(Explanation(heatmaps=maps))
            run = self.run_once(e, self.batch, what="direction")
            means.append(np.nanmean(run.values))
        text = f"true maps score {means[0]:.3g}, random ones {means[1]:.3g}"
        better = means[0] >= means[1]
        if self.spec.better == "lower":
            better = means[0] <= means[1]
        if better:
            self.fine("direction", text)
        else:
            self.warn(
                "direction",
                f"{text}; {self.spec.better} is declared better",
                "direction",
            )


def _same(a: np.ndarray, b: np.ndarray, *, exact: bool = False) -> bool:
    """Equal values, up to rounding unless ``exact``."""
    if exact:
        return np.array_equal(a, b, equal_nan=True)
    return np.allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True)


def _listed(names: set[str] | frozenset[str]) -> str:
    return ", ".join(sorted(names))


# --------------------------------------------------------------------------------------------- what is read


class _Seen:
    """Notes which fields the files in a folder read of an explanation and of the images."""

    folder: ClassVar[str] = ""
    names: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> Any:
        if name in _FIELDS or name in _ANNOTATIONS:
            file = sys._getframe(1).f_code.co_filename
            if file.startswith(_Seen.folder) and not file.startswith(_PACKAGE):
                _Seen.names.add(name)
        return super().__getattribute__(name)


class _SeenExplanation(_Seen, Explanation):
    pass


class _SeenBatch(_Seen, Batch):
    def __getitem__(self, rows: Any) -> Batch:
        part = super().__getitem__(rows)
        part.__class__ = _SeenBatch
        return part
