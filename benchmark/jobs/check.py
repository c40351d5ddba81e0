"""Checks that a method keeps the contract: on toy data, in seconds, each finding with the line to change.

    for line in report(check_method("mine.py:GradNorm")):
        print(line)

Idea: run the method on two toy networks (grey and colour; the class is the bright quadrant) in a process of its own. A
tracer looks at everything that the method must not change after each line of its file, so the line that changed
something is known. Two runs that should agree (the same run twice, or the images in another order) are compared
variable by variable, and the first that differs gives the line. A crash or an endless loop leaves its stack. On a
network whose weights are set by hand the truth is known: a heat map that does not fit it is warned of.
"""

from __future__ import annotations

import ast
import contextlib
import faulthandler
import json
import linecache
import re
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark import engine
from benchmark.api import Batch, Explanation, Method, NotApplicable, Target, settings_of
from benchmark.engine.sandbox import Limits
from benchmark.jobs.toy import counted, mass_in_quadrant, toy
from benchmark.methods import contract, describe
from benchmark.methods.line_trace import (
    PARTS,
    Trace,
    arrangements,
    differing_line,
    probes,
    whole,
)
from benchmark.methods.registry import MethodRef, metrics
from benchmark.utils.seeds import generator
from benchmark.utils.temporary import scratch

LIMITS = Limits(seconds=50, gigabytes=4)
_UNTIL = (
    45  # seconds after which the stack is written to a file, in case of an endless loop
)
_PRINTED = 2**14  # bytes that a run on the toy images may print
_CLEAR = 0.15  # a share of the mass that is more than chance
_LOG, _STACK = "findings.jsonl", "stack.txt"
SHAPES = ((1, 28, 28), (3, 32, 32))  # of the toy images

HINTS = {
    "weights": "work on a copy: copy.deepcopy(target.net), or torch.func.functional_call with other weights",
    "modes": "the target is in eval mode and stays so; remove the call",
    "hooks": "remove the hook: handle = module.register_...(...), at the end handle.remove(), in a finally",
    "requires_grad": "gradients of features or pixels do not need those of weights; "
    "detach and require on your own tensor",
    "normalisation": "a method may not set fields of the target; remove the line",
    "images": "clone first: x = batch.x.clone()",
    "torch's global random state": "draw from rng: torch.rand(..., generator=benchmark.api.torch_rng(rng))",
    "numpy's global random state": "draw from rng: rng.normal(...), rng.permutation(...)",
    "Python's global random state": "draw from rng: rng.random(), rng.choice(...)",
    "finite": "before dividing, add a small number to what may be zero, or treat such images separately",
    "shape": "return one entry per image of the batch, in order; "
    "maps have the size of the image (torch.nn.functional.interpolate)",
    "graph": "return the tensor.detach()",
    "setting": "use numbers, text without `;`, or lists of them; "
    "for a method within a method, add a field that says what differs",
    "deterministic": "take randomness from rng alone: "
    "not from the clock, the order of a set, or a default_rng() of your own",
    "batch": "compute statistics (mean, maximum, sorting) over the pixels of each image, never over dim 0; "
    "learn what images share in fit",
    "withheld": "explain the class that the network predicts, target(batch).argmax(1), from batch.x",
    "transposed": "are rows and columns swapped?",
    "negated": "larger must mean more important",
    "chance": "the target normalises pixels by itself: pass batch.x as it is",
    "prints": "remove the print, or print once in fit",
    "fork": "a method has one process; remove the fork",
    "write": "keep what you need on self; a method may write into its working directory and the user's cache only",
    "exit": "raise an exception that says why; benchmark.api.NotApplicable where there is nothing to say",
    "memory": "work in chunks: for part in batch",
    "time": "bound the loop; work in chunks: for part in batch",
}


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        doubtful: perhaps wrong; never a reason to fail.
        where, code: ``mine.py:12`` and the text of that line; empty if no line is to blame.
    """

    what: str
    text: str
    wrong: bool = False
    where: str = ""
    code: str = ""
    hint: str = ""
    doubtful: bool = False


def check_method(entry: str | Mapping[str, Any]) -> list[Finding]:
    """All findings on a method, in the order of the checks.

    Raises:
        UnknownName: no such file, class or setting.
    """
    ref = MethodRef.parse(entry, base=Path.cwd())
    describe.describe(ref)  # a wrong class or setting is the user's typo, not a finding
    return findings(check_here, ref)


def findings(check: Callable[..., None], ref: Any) -> list[Finding]:
    """What ``check(ref, seconds)`` finds in a process of its own, and how that process ended."""
    with tempfile.TemporaryDirectory(prefix=scratch()) as folder:
        done = engine.alone(
            engine.Unit("check", check, (ref, _UNTIL), LIMITS, Path(folder))
        )
        log = _read(Path(folder, _LOG))
        found = [Finding(**json.loads(line)) for line in log.splitlines()]
        if done.error:
            stack = _read(Path(folder, _STACK))
            where, code = _in_stack(stack, ref.path)
            found.append(
                Finding("run", done.error, True, where, code, _hint_for(done.error))
            )
    return found


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _hint_for(error: str) -> str:
    """The hint for a process that was stopped."""
    for key, word in (("time", "longer"), ("prints", "printed"), ("memory", "memory")):
        if word in error:
            return HINTS[key]
    return ""


def report(found: Sequence[Finding]) -> Iterator[str]:
    """Findings as lines of text."""
    for finding in found:
        mark = "WRONG" if finding.wrong else "ok   "
        if finding.doubtful:
            mark = "WARN "
        yield f"{mark}  {finding.what}: {finding.text}"
        if finding.where:
            yield f"       {finding.where}:  {finding.code}"
        if finding.hint:
            yield f"       change: {finding.hint}"
    wrong = sum(finding.wrong for finding in found)
    if wrong == 0:
        yield "nothing to change"
    else:
        things = "thing" if wrong == 1 else "things"
        yield f"{wrong} {things} to change"


def _in_stack(text: str, path: Path) -> tuple[str, str]:
    """The innermost line of the method's file in a stack that faulthandler wrote."""
    file = re.escape(str(path.resolve()))
    hit = re.search(rf'File "{file}", line (\d+)', text)
    return _line(path, int(hit[1]) if hit else None)


def _line(path: Path, number: int | None) -> tuple[str, str]:
    """``mine.py:12`` and the text of that line; empty for None."""
    if not number:
        return "", ""
    code = linecache.getline(str(path.resolve()), number)
    return f"{path.name}:{number}", code.strip()


# --------------------------------------------------------------------------------------------- inside the process


def check_here(ref: MethodRef, until: float) -> None:
    """Run all checks in this process. Each finding is written at once, so that a crash leaves those before it.

    Args:
        until: seconds after which the stack is written to a file.
    """
    Checker(ref).run(until)


class Stop(Exception):
    """Nothing more can be checked."""


class Checker:
    """Runs the checks on one method and writes the findings."""

    hints = HINTS

    def __init__(self, ref: Any) -> None:
        self.ref = ref
        self.path = ref.path.resolve()
        self.written: set[tuple[str, str]] = set()

    def wrong(
        self, what: str, text: str, *, line: int | None = None, hint: str = ""
    ) -> None:
        where, code = _line(self.path, line)
        self._write(Finding(what, text, True, where, code, self.hints.get(hint, "")))

    def fine(self, what: str, text: str) -> None:
        self._write(Finding(what, text))

    def _write(self, finding: Finding) -> None:
        key = (finding.what, finding.where)
        if key not in self.written:  # the second network mostly shows the same
            self.written.add(key)
            with open(_LOG, "a") as log:
                log.write(json.dumps(asdict(finding)) + "\n")

    def run(self, until: float) -> None:
        with open(_STACK, "w") as stack:
            faulthandler.enable(stack, all_threads=False)
            faulthandler.dump_traceback_later(until, file=stack)
            try:
                self.checks()
            except Stop:
                pass
            finally:
                faulthandler.cancel_dump_traceback_later()

    def checks(self) -> None:
        """
        Raises:
            Stop: nothing more can be checked.
        """
        self.check_file()
        for shape in SHAPES:
            self.check_contract(*toy(shape))
        self.check_truth(*counted(SHAPES[-1]))

    def check_file(self) -> None:
        with self.blamed("opening the file"):
            name, _, setting = describe.describe_here(self.ref)["names"]
        self.fine("name", f"{name}, settings {setting or 'none'}")
        with self.blamed("opening the file"):
            self.check_settings(self.ref.build())

    def check_settings(self, method: Any) -> None:
        """Rows name a setting by its text, so two values with the same text would be the same method there."""
        for field, value in settings_of(method).items():
            why = ambiguous(getattr(method, field))
            if why:
                text = f"rows cannot tell {field}={value} from another {field}: {why}"
                line = declared(self.path, self.ref.cls, field)
                self.wrong("setting", text, line=line, hint="setting")

    # ----------------------------------------------------------------------------------------- one network

    def check_contract(self, target: Target, batch: Batch, reference: Batch) -> None:
        """All checks on one toy network.

        Raises:
            Stop: the method cannot go on.
        """
        first = self.run_once(target, batch, reference, probe=True)
        self.check_untouched(first)
        with self.blamed("explanation", first.returned, "shape"):
            contract.check_explanation(first.result, target, batch)
        self.fine("explanation", _summary(first.result))
        again = self.run_once(target, batch, reference)
        line = differing_line(first, again, whole, 0.0)
        if line:
            text = "the same seed gives another explanation"
            self.wrong("deterministic", text, line=line, hint="deterministic")
        else:
            self.fine("deterministic", "the same seed gives the same explanation")
            self.check_batches(first, target, batch, reference)
        self.check_scale(target, batch, reference)

    def check_batches(
        self, first: Trace, target: Target, batch: Batch, reference: Batch
    ) -> None:
        """The explanation of an image must depend neither on the other images nor on its position."""
        other = self.run_once(target, batch, reference, seed="another")
        if differing_line(first, other, whole, contract.ROUNDING):
            text = "depends on the seed, so images cannot be compared between batches"
            self.fine("batch", text)
            return
        if getattr(first.method, "precomputed", False):
            return
        for how, images, pick in arrangements(batch):
            trace = self.run_once(target, images, reference)
            line = differing_line(first, trace, pick, contract.ROUNDING)
            if line:
                self.wrong(
                    "batch", f"{how} get other explanations", line=line, hint="batch"
                )
                return
        self.fine("batch", "an image's explanation does not depend on the others")

    def run_once(
        self,
        target: Target,
        batch: Batch,
        reference: Batch,
        *,
        seed: str = "",
        probe: bool = False,
    ) -> Trace:
        """Build, fit and explain under the tracer; ``probe``: it also looks at what must not change.

        Raises:
            Stop: the method raised, which is a finding.
        """
        watched = probes(target, batch, reference) if probe else {}
        trace = Trace(self.path, watched)
        with (
            self.blamed("run", trace=trace),
            _CountedOutput(self.path) as output,
            trace,
        ):
            method, images, reference = self.built(batch, reference)
            with contract.strict(images, reference):
                trace.method = method.fit(target, reference, generator("check", "fit"))
                trace.result = trace.method.explain(
                    target, images, generator("check", "explain", seed)
                )
        if output.count > _PRINTED:
            text = f"prints {output.count / 2**20:.1f} MB"
            self.wrong("prints", text, line=output.line, hint="prints")
        return trace

    def built(self, batch: Batch, reference: Batch) -> tuple[Method, Batch, Batch]:
        """The method and the images as it gets them, without what an earlier run has computed."""
        method = self.ref.build()
        if self.ref.own:
            return method, batch[: len(batch)], reference
        return method, *(contract.pixels(each, method) for each in (batch, reference))

    def check_untouched(self, trace: Trace) -> None:
        for part, line in trace.changed().items():
            whose = "the target's " if part in PARTS else ""
            self.wrong(part, f"changes {whose}{part}", line=line, hint=part)
        if not trace.changed():
            text = "leaves the target, the images and global random states alone"
            self.fine("untouched", text)

    def check_scale(self, target: Target, batch: Batch, reference: Batch) -> None:
        """Time and memory, for the batch and for one of four times its length."""
        long = batch[torch.arange(4 * len(batch)) % len(batch)]
        seconds: list[float] = []
        kilobytes: list[int] = []
        with self.blamed("run"):
            method, long, reference = self.built(long, reference)
            method = method.fit(target, reference, generator("check", "fit"))
            for images in (long[: len(batch)], long):
                before = _peak_kilobytes()
                start = time.perf_counter()
                method.explain(target, images, generator("check", "explain"))
                seconds.append(time.perf_counter() - start)
                kilobytes.append(_peak_kilobytes() - before)
        milliseconds = 1e3 * seconds[1] / len(long)
        megabytes = kilobytes[1] / 2**10
        size = "x".join(map(str, batch.x.shape[1:]))
        text = (
            f"{milliseconds:.2g} ms per image, and {megabytes:.0f} MB more memory "
            f"for {len(long)} images of {size}"
        )
        ratio = seconds[1] / max(seconds[0], 1e-3)
        if seconds[1] > 0.5 and ratio > 10:
            text += f"; 4 times the images took {ratio:.0f} times as long"
            self.wrong("scale", text, hint="time")
        else:
            self.fine("scale", text)

    def check_truth(self, target: Target, batch: Batch, reference: Batch) -> None:
        """Where heat maps lie on a network that sees nothing but the quadrant of the class; warns, never fails."""
        try:
            method, images, reference = self.built(batch, reference)
            method = method.fit(target, reference, generator("check", "fit"))
            e = method.explain(target, images, generator("check", "explain"))
            contract.check_explanation(e, target, images)
        except Exception:  # it may need more than this network has
            return
        if e.heatmaps is None or getattr(method, "precomputed", False):
            return
        y = batch.y.numpy()
        found = mass_in_quadrant(e.heatmaps, y)
        edges = mass_in_quadrant(_edges(batch), y)
        text = f"mass in the class's quadrant {found:.0%}, chance 25%, edge map {edges:.0%}"
        others = {
            "transposed": mass_in_quadrant(e.heatmaps.swapaxes(1, 2), y),
            "negated": mass_in_quadrant(-e.heatmaps, y),
        }
        how = max(others, key=others.get)
        hint = ""
        if others[how] > found + _CLEAR and others[how] > 0.25 + _CLEAR:
            text += f"; {how} {others[how]:.0%}"
            hint = how
        elif found < 0.25 + _CLEAR:
            hint = "chance"
        self._write(
            Finding("truth", text, hint=HINTS.get(hint, ""), doubtful=bool(hint))
        )

    def blamed(
        self,
        what: str,
        line: int | None = None,
        hint: str = "",
        *,
        trace: Trace | None = None,
    ) -> _Blamed:
        return _Blamed(self, what, line, hint, trace)


class _Blamed:
    """Turns an exception into a finding with the line of the method's file, and ends the check.

    Args:
        what: the name of the finding.
        line: the line to blame if the traceback has none of the method's file.
        hint: a key of ``HINTS``; found by the words of the error if empty.
    """

    def __init__(
        self,
        checker: Checker,
        what: str,
        line: int | None,
        hint: str,
        trace: Trace | None,
    ) -> None:
        self.checker = checker
        self.what = what
        self.line = line
        self.hint = hint
        self.trace = trace

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: Any
    ) -> bool:
        if error is None or isinstance(error, Stop):
            return False
        if isinstance(error, NotApplicable):
            self.checker.fine("applies", f"not to the toy network: {error}")
            raise Stop from None
        if isinstance(error, engine.Failed):
            text = str(error)
        elif isinstance(error, SystemExit):
            text = f"called sys.exit({error.code!r})"
        else:
            text = f"{kind.__name__}: {' '.join(str(error).split())}"
        hint = self.hint or _hint_in(text)
        line = self._line_of(error, trace, hint)
        self.checker.wrong(self.what, text, line=line, hint=hint)
        raise Stop from None

    def _line_of(self, error: BaseException, trace: Any, hint: str) -> int | None:
        path = self.checker.path
        if isinstance(error, SyntaxError) and error.filename == str(path):
            return error.lineno
        if hint == "images" and self.trace:
            return self.trace.changed().get("images")
        frames = traceback.extract_tb(trace)
        lines = [frame.lineno for frame in frames if Path(frame.filename) == path]
        return lines[-1] if lines else self.line


def _hint_in(text: str) -> str:
    """The key of the hint whose words are in the text of an error."""
    for key, words in _WORDS.items():
        if any(word in text for word in words):
            return key
    return ""


_WORDS = {
    "withheld": ("is withheld",),
    "finite": ("NaN",),
    "graph": ("on a graph",),
    "images": ("in place",),
    "fork": ("fork",),
    "exit": ("sys.exit",),
    "write": ("may write",),
    "memory": ("MemoryError", "allocate memory"),
    "shape": ("axes", "disagree", "of type", "not one number"),
}


def _summary(explanation: Explanation) -> str:
    """What an explanation offers, and the tracks whose metrics apply to it."""
    offers = explanation.offers()
    shapes = []
    for name in sorted(offers - {"size"}):
        shapes.append(f"{name} {getattr(explanation, name).shape}")
    tracks = {m.track for m in metrics().values() if m.offered and m.offered <= offers}
    judged_as = ", ".join(sorted(tracks)) or "nothing yet"
    return f"{', '.join(shapes)}; judged as {judged_as}"


def _edges(batch: Batch) -> np.ndarray:
    """How much neighbouring pixels differ, (n, h, w)."""
    grey = batch.x.mean(dim=1)
    steps = torch.gradient(grey, dim=(1, 2))
    return torch.hypot(*steps).numpy()


def _peak_kilobytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# --------------------------------------------------------------------------------------------- what is printed


class _CountedOutput:
    """Counts what is printed, and which line of a file prints most."""

    def __init__(self, path: Path) -> None:
        self.file = str(path)
        self.count = 0
        self.lines: dict[int, int] = {}

    def __enter__(self) -> _CountedOutput:
        self.streams = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = self
        return self

    def __exit__(self, *_: Any) -> None:
        sys.stdout, sys.stderr = self.streams

    def write(self, text: str) -> int:
        self.count += len(text)
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != self.file:
            frame = frame.f_back
        if frame is not None:
            line = frame.f_lineno
            self.lines[line] = self.lines.get(line, 0) + len(text)
        return len(text)

    def flush(self) -> None:
        pass

    @property
    def line(self) -> int | None:
        """The line that printed most."""
        if not self.lines:
            return None
        return max(self.lines, key=self.lines.get)


# --------------------------------------------------------------------------------------------- settings


def ambiguous(value: Any) -> str:
    """Why another value of a setting could have the same text; empty if none could."""
    if isinstance(value, Method):
        with contextlib.suppress(TypeError):  # it has no defaults
            if settings_of(value) == settings_of(type(value)()):
                return ""
        return f"a row names {value.name} without its settings"
    if ";" in str(value):
        return "`;` separates settings"
    if value is None or isinstance(value, (str, Number)):
        return ""
    if isinstance(value, Mapping):
        parts = [*value, *value.values()]
    elif isinstance(value, (list, tuple)):
        parts = value
    else:
        return f"{type(value).__name__} has no text of its own"
    reasons = (ambiguous(part) for part in parts)
    return next(filter(None, reasons), "")


def declared(path: Path, cls: str, field: str) -> int | None:
    """The line of a class's field; if it declares none, that of another class in the file."""
    nodes = ast.walk(ast.parse(path.read_text()))
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    for node in sorted(classes, key=lambda node: node.name != cls):
        for line in node.body:
            if isinstance(line, ast.AnnAssign) and ast.unparse(line.target) == field:
                return line.lineno
    return None
