"""Does a method keep the contract? On toy data, in seconds, each finding with the line to change.

    for line in report(check("mine.py:GradNorm")):
        print(line)

Idea: run the method on two toy networks (grey and colour; the class is the quadrant that is bright) in a process of its
own, under a tracer that looks, after every line of the method's file, at what it must not touch: the line after which it
is changed is the one to blame. Two runs that should agree, the same again or the images backwards, are compared variable
by variable: the first that differs names the line. A crash or an endless loop leaves its stack.
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
from torch import nn

from benchmark import engine
from benchmark.api import Batch, Method, NotApplicable, Target, settings_of
from benchmark.engine.sandbox import Limits
from benchmark.jobs.line_trace import Trace, disagreement
from benchmark.methods import contract, describe
from benchmark.methods.registry import MethodRef, metrics
from benchmark.utils.seeds import generator
from benchmark.utils.temporary import scratch

LIMITS = Limits(seconds=50, gigabytes=4)
_UNTIL = 45  # seconds after which the stack is written down, in case that it goes on for ever
IMAGES, REFERENCE = 12, 32
_PART = 5  # of the images, that are explained by themselves
_PRINTED = 2**14  # bytes that a run on a dozen images may print
_LOG, _STACK = "findings.jsonl", "stack.txt"

HINTS = {
    "weights": "work on a copy: copy.deepcopy(target.net), or torch.func.functional_call with other weights",
    "modes": "the target is in eval mode and stays so; remove the call",
    "hooks": "remove the hook: handle = module.register_...(...), at the end handle.remove(), in a finally",
    "requires_grad": "gradients of features or pixels do not need those of weights; detach and require on your own tensor",
    "normalisation": "the target's own fields are not yours to set; remove the line",
    "images": "clone first: x = batch.x.clone()",
    "torch's global random state": "draw from rng: torch.rand(..., generator=benchmark.api.torch_rng(rng))",
    "numpy's global random state": "draw from rng: rng.normal(...), rng.permutation(...)",
    "Python's global random state": "draw from rng: rng.random(), rng.choice(...)",
    "finite": "divide by what may be zero only after adding a small number, or treat that image by itself",
    "shape": "return one entry an image of batch, in order; maps have the size of the image (torch.nn.functional.interpolate)",
    "graph": "return the tensor.detach()",
    "setting": "take numbers, text without `;`, or lists of them; of a method in a method, let a field of your own say what differs",
    "deterministic": "randomness comes from rng alone; no clock, no set's order, no default_rng() of your own",
    "batch": "statistics (mean, maximum, sorting) go over an image's own pixels, never over dim 0; what must be shared is learnt in fit",
    "prints": "remove the print, or print once in fit",
    "fork": "one process a method; remove the fork",
    "write": "keep what you need on self; a method may write into its working directory and the user's cache only",
    "exit": "raise an exception that says why; benchmark.api.NotApplicable where there is nothing to say",
    "memory": "work in chunks: for part in batch",
    "time": "bound the loop; work in chunks: for part in batch",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``where`` is ``mine.py:12``, ``code`` that line; both empty where no line is to blame."""

    what: str
    text: str
    wrong: bool = False
    where: str = ""
    code: str = ""
    hint: str = ""


def check_method(entry: str | Mapping[str, Any]) -> list[Finding]:
    """All findings on a method, worst first as they came.

    Raises:
        UnknownName: no such file, class or setting.
    """
    ref = MethodRef.parse(entry, base=Path.cwd())
    describe.describe(ref)  # a wrong class or setting is the user's typo, not a finding
    with tempfile.TemporaryDirectory(prefix=scratch()) as folder:
        done = engine.alone(engine.Unit("check", check_here, (ref, _UNTIL), LIMITS, Path(folder)))
        log, stack = Path(folder, _LOG), Path(folder, _STACK)
        found = (
            [Finding(**json.loads(line)) for line in log.read_text().splitlines()]
            if log.exists()
            else []
        )
        if done.error:
            where, code = _in_stack(stack.read_text() if stack.exists() else "", ref.path)
            hint = next(
                (
                    HINTS[key]
                    for key, word in (
                        ("time", "longer"),
                        ("prints", "printed"),
                        ("memory", "memory"),
                    )
                    if word in done.error
                ),
                "",
            )
            found.append(Finding("run", done.error, True, where, code, hint))
    return found


def report(found: Sequence[Finding]) -> Iterator[str]:
    """Findings as lines of text."""
    for f in found:
        yield f"{'WRONG' if f.wrong else 'ok   '}  {f.what}: {f.text}"
        if f.where:
            yield f"       {f.where}:  {f.code}"
        if f.wrong and f.hint:
            yield f"       change: {f.hint}"
    wrong = sum(f.wrong for f in found)
    yield f"{wrong} thing{'s' * (wrong != 1)} to change" if wrong else "nothing to change"


def _in_stack(text: str, path: Path) -> tuple[str, str]:
    """The method's own line in a stack that faulthandler wrote, innermost first."""
    hit = re.search(rf'File "{re.escape(str(path.resolve()))}", line (\d+)', text)
    return _line(path, int(hit[1])) if hit else ("", "")


def _line(path: Path, number: int | None) -> tuple[str, str]:
    if not number:
        return "", ""
    return f"{path.name}:{number}", linecache.getline(str(path.resolve()), number).strip()


# --------------------------------------------------------------------------------------------- inside


def check_here(ref: MethodRef, until: float) -> None:
    """All checks, in this process; each finding is written as it is made, so that a crash leaves those before it."""
    _Checker(ref).run(until)


class _Stop(Exception):
    """There is nothing more to check."""


class _Checker:
    def __init__(self, ref: MethodRef) -> None:
        self.ref, self.path, self.said = ref, ref.path.resolve(), set()

    def say(
        self, what: str, text: str, *, line: int | None = None, hint: str = "", wrong: bool = True
    ) -> None:
        where, code = _line(self.path, line)
        if (what, where) not in self.said:  # the second network shows it again
            self.said.add((what, where))
            with open(_LOG, "a") as log:
                log.write(
                    json.dumps(asdict(Finding(what, text, wrong, where, code, HINTS.get(hint, ""))))
                    + "\n"
                )

    def run(self, until: float) -> None:
        with open(_STACK, "w") as stack:
            faulthandler.enable(stack, all_threads=False)
            faulthandler.dump_traceback_later(until, file=stack)
            try:
                self.opens()
                for shape in ((1, 28, 28), (3, 32, 32)):
                    self.contract(*toy(shape))
            except _Stop:
                pass
            finally:
                faulthandler.cancel_dump_traceback_later()

    def opens(self) -> None:
        with self.blamed("opening the file"):
            name = describe.describe_here(self.ref)["names"]
        self.say("name", f"{name[0]}, settings {name[2] or 'none'}", wrong=False)
        with self.blamed("opening the file"):
            self.settings(self.ref.build())

    def settings(self, method: Any) -> None:
        """A row names a setting by its text: two values with the same text are one method there."""
        for field, value in settings_of(method).items():
            if why := untold(getattr(method, field)):
                text = f"no row could tell {field}={value} from another {field}: {why}"
                self.say(
                    "setting", text, line=declared(self.path, self.ref.cls, field), hint="setting"
                )

    # ----------------------------------------------------------------------------------------- one network

    def contract(self, target: Target, batch: Batch, reference: Batch) -> None:
        """Everything on one toy network; Stop where the method cannot go on."""
        first = self.once(target, batch, reference, look=True)
        self.untouched(first)
        with self.blamed("explanation", first.returned, "shape"):
            contract.check_explanation(first.result, target, batch)
        shapes = {
            key: getattr(first.result, key).shape
            for key in sorted(first.result.offers() - {"size"})
        }
        tracks = sorted(
            {
                m.track
                for m in metrics().values()
                if m.offered and m.offered <= first.result.offers()
            }
        )
        self.say(
            "explanation",
            f"{', '.join(f'{k} {v}' for k, v in shapes.items())}; judged as {', '.join(tracks) or 'nothing yet'}",
            wrong=False,
        )
        again = self.once(target, batch, reference)
        if line := self.differs(first, again, lambda value, other: (value, other), 0.0):
            self.say(
                "deterministic",
                "the same seed gives another explanation",
                line=line,
                hint="deterministic",
            )
        else:
            self.say("deterministic", "the same seed gives the same explanation", wrong=False)
            self.batches(first, target, batch, reference)
        self.scale(target, batch, reference)

    def batches(self, first: Trace, target: Target, batch: Batch, reference: Batch) -> None:
        """An image's explanation is its own, whatever is beside it and wherever it stands."""
        other = self.once(target, batch, reference, seed="another")
        if self.differs(first, other, lambda a, b: (a, b), contract.ROUNDING):
            self.say(
                "batch",
                "draws at random, so images cannot be compared between batches",
                wrong=False,
            )
            return
        if getattr(first.method, "precomputed", False):
            return
        n = len(batch)
        ways = {
            "backwards": (
                batch[torch.arange(n).flip(0)],
                lambda a, b: (a, b[::-1]) if len(a) == len(b) == n else None,
            ),
            f"the first {_PART} by themselves": (
                batch[:_PART],
                lambda a, b: (a[:_PART], b) if (len(a), len(b)) == (n, _PART) else None,
            ),
        }
        for words, (images, pick) in ways.items():
            trace = self.once(target, images, reference)
            if line := self.differs(first, trace, pick, contract.ROUNDING):
                self.say(
                    "batch", f"the images {words} get another explanation", line=line, hint="batch"
                )
                return
        self.say("batch", "an image's explanation does not depend on the others", wrong=False)

    def once(
        self, target: Target, batch: Batch, reference: Batch, *, seed: str = "", look: bool = False
    ) -> Trace:
        """Fit and explain anew under the tracer, which also looks at what must not change. What raises is a finding, and
        the end."""
        images = lambda: (batch.x._version, reference.x._version)
        trace = Trace(
            self.path, {**_parts(target), **_randomness(), "images": images} if look else {}
        )
        fresh = batch[: len(batch)]  # without what an earlier run has computed
        with (
            self.blamed("run", trace=trace),
            contract.strict(fresh, reference),
            _counted(self.path) as words,
            trace,
        ):
            trace.method = self.ref.build().fit(target, reference, generator("check", "fit"))
            trace.result = trace.method.explain(target, fresh, generator("check", "explain", seed))
        if words.count > _PRINTED:
            self.say(
                "prints", f"prints {words.count / 2**20:.1f} MB", line=words.line, hint="prints"
            )
        return trace

    def untouched(self, trace: Trace) -> None:
        for part, line in trace.changed().items():
            whose = "the target's " if part in _PARTS else ""
            self.say(part, f"changes {whose}{part}", line=line, hint=part)
        if not trace.changed():
            self.say(
                "untouched",
                "leaves the target, the images and global random states alone",
                wrong=False,
            )

    def differs(self, a: Trace, b: Trace, pick: Callable, tolerance: float) -> int | None:
        """The line to blame where two runs disagree; None where they agree."""
        for field in sorted(a.result.offers() - {"size"}):
            pair = pick(getattr(a.result, field), getattr(b.result, field, np.empty(0)))
            if pair is None or contract.apart(*pair) > tolerance:
                return disagreement(a, b, pick, tolerance) or a.returned
        return None

    def scale(self, target: Target, batch: Batch, reference: Batch) -> None:
        """Time and memory, of a batch and of one four times as long."""
        long = batch[torch.arange(4 * len(batch)) % len(batch)]
        seconds, memory = [], []
        with self.blamed("run"):
            method = self.ref.build().fit(target, reference, generator("check", "fit"))
            for images in (batch[: len(batch)], long):
                before, start = (
                    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
                    time.perf_counter(),
                )
                method.explain(target, images, generator("check", "explain"))
                seconds.append(time.perf_counter() - start)
                memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        each = seconds[1] / len(long)
        text = f"{1e3 * each:.2g} ms and {max(0, memory[1]) / 2**10:.0f} MB more for {len(long)} images of {'x'.join(map(str, batch.x.shape[1:]))}"
        if steep := seconds[1] > 0.5 and seconds[1] / max(seconds[0], 1e-3) > 10:
            text += f"; 4 times the images took {seconds[1] / seconds[0]:.0f} times as long"
        self.say("scale", text, wrong=steep, hint="time")

    def blamed(
        self, what: str, line: int | None = None, hint: str = "", *, trace: Trace | None = None
    ) -> _Blamed:
        return _Blamed(self, what, line, hint, trace)


class _Blamed:
    """What is raised inside is a finding with the method's own line, and the end of the check."""

    def __init__(
        self, checker: _Checker, what: str, line: int | None, hint: str, trace: Trace | None
    ) -> None:
        self.checker, self.what, self.line, self.hint, self.trace = checker, what, line, hint, trace

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> bool:
        if error is None or isinstance(error, _Stop):
            return False
        if isinstance(error, NotApplicable):
            self.checker.say("applies", f"not to the toy network: {error}", wrong=False)
            raise _Stop from None
        frames = [
            f.lineno for f in traceback.extract_tb(trace) if Path(f.filename) == self.checker.path
        ]
        text = (
            f"called sys.exit({error.code!r})"
            if isinstance(error, SystemExit)
            else f"{kind.__name__}: {' '.join(str(error).split())}"
        )
        hint = self.hint or next(
            (key for key, words in _WORDS.items() if any(word in text for word in words)), ""
        )
        if hint == "images" and self.trace:
            frames = [self.trace.changed().get("images")]
        if isinstance(error, SyntaxError) and error.filename == str(self.checker.path):
            frames = [error.lineno]
        self.checker.say(self.what, text, line=frames[-1] if frames else self.line, hint=hint)
        raise _Stop from None


_WORDS = {
    "finite": ("NaN",),
    "graph": ("on a graph",),
    "images": ("in place",),
    "fork": ("fork",),
    "exit": ("sys.exit",),
    "write": ("may write",),
    "memory": ("MemoryError", "allocate memory"),
    "shape": ("axes", "disagree", "of type"),
}


# --------------------------------------------------------------------------------------------- what is looked at


_PARTS = ("weights", "modes", "hooks", "requires_grad", "normalisation")


def _parts(target: Target) -> dict[str, Callable[[], Any]]:
    """For each part of a target, a function whose value changes when it does."""
    net = target.net
    return {
        "weights": lambda: [(k, v.detach().numpy().tobytes()) for k, v in net.state_dict().items()],
        "modes": lambda: [module.training for module in net.modules()],
        "hooks": lambda: [
            (
                type(m).__name__,
                "forward" in vars(m),
                *(len(v) for k, v in vars(m).items() if k.endswith("_hooks")),
            )
            for m in net.modules()
        ],
        "requires_grad": lambda: [p.requires_grad for p in net.parameters()],
        "normalisation": lambda: (target.mean.tolist(), target.std.tolist(), target.layer),
    }


def _randomness() -> dict[str, Callable[[], Any]]:
    import random

    return {
        "torch's global random state": lambda: torch.get_rng_state().numpy().tobytes(),
        "numpy's global random state": lambda: (
            str(np.random.get_state()[1:3]) + np.random.get_state()[1].tobytes().hex()
        ),
        "Python's global random state": random.getstate,
    }


class _counted:
    """Counts what is printed meanwhile, and remembers which line of a file printed most."""

    def __init__(self, path: Path) -> None:
        self.file, self.count, self.lines = str(path), 0, {}

    def __enter__(self) -> _counted:
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
            self.lines[frame.f_lineno] = self.lines.get(frame.f_lineno, 0) + len(text)
        return len(text)

    def flush(self) -> None:
        pass

    @property
    def line(self) -> int | None:
        return max(self.lines, key=self.lines.get) if self.lines else None


# --------------------------------------------------------------------------------------------- settings


def untold(value: Any) -> str:
    """Why the text of a setting does not tell which value it is; empty if it does."""
    if isinstance(value, Method):
        with contextlib.suppress(TypeError):  # it has no defaults
            if settings_of(value) == settings_of(type(value)()):
                return ""
        return f"a row names {value.name} without its settings"
    if ";" in str(value):
        return "`;` parts settings"
    if isinstance(value, Mapping):
        return next(filter(None, map(untold, [*value, *value.values()])), "")
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(untold, value)), "")
    return (
        ""
        if value is None or isinstance(value, (str, Number))
        else f"{type(value).__name__} has no text of its own"
    )


def declared(path: Path, cls: str, field: str) -> int | None:
    """The line of a class's field; that of another class in the file, if there is none of its own."""
    classes = [
        node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)
    ]
    for node in sorted(classes, key=lambda node: node.name != cls):
        for line in node.body:
            if isinstance(line, ast.AnnAssign) and ast.unparse(line.target) == field:
                return line.lineno
    return None


# --------------------------------------------------------------------------------------------- toy data


def toy(shape: tuple[int, int, int]) -> tuple[Target, Batch, Batch]:
    """(network, images, reference images): the class is the bright quadrant of four, on noise; trained for a moment."""
    c, h, w = shape
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential()
        for k, (maps_in, maps) in enumerate(((c, 8), (8, 16)), 1):
            net.add_module(
                f"conv{k}",
                nn.Sequential(nn.Conv2d(maps_in, maps, 3, stride=2, padding=1), nn.ReLU()),
            )
        net.add_module("flatten", nn.Flatten())
        net.add_module("fc", nn.Sequential(nn.Linear(16 * (h // 4) * (w // 4), 16), nn.ReLU()))
        net.add_module("logits", nn.Linear(16, 4))
        optimiser = torch.optim.Adam(net.parameters(), 5e-3)
        train = _quadrants(shape, 256, "train")
        for part in [part for _ in range(4) for part in train]:
            loss = nn.functional.cross_entropy(net((part.x - 0.4) / 0.3), part.y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    name = f"toy/{'x'.join(map(str, shape))}"
    target = Target(
        net, name=name, classes="abcd", input_shape=shape, mean=[0.4], std=[0.3], layer="conv2"
    )
    return target, _quadrants(shape, IMAGES, "test"), train[:REFERENCE]


def _quadrants(shape: tuple[int, int, int], n: int, split: str) -> Batch:
    c, h, w = shape
    rng = generator("toy", split, *shape)
    x, y = 0.6 * rng.random((n, c, h, w), dtype=np.float32), np.arange(n) % 4
    brightness = np.linspace(0.5, 1.0, n)[
        rng.permutation(n) if split == "train" else slice(None)
    ]  # the test's last is brightest
    for image, quadrant, light in zip(x, y, brightness, strict=True):
        i, j = (
            h // 2 * (quadrant // 2) + rng.integers(h // 4),
            w // 2 * (quadrant % 2) + rng.integers(w // 4),
        )
        image[:, i : i + h // 4, j : j + w // 4] += 0.4
        image *= light
    return Batch(x=torch.from_numpy(x), y=torch.from_numpy(y), ids=torch.arange(n), chunk=16)
