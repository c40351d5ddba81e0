"""Runs the tests of a module on its mutants, each in a fork.

The short way: one process imports and collects all tests of the module. A fork of it gives the functions their changed code
(``__code__``) and runs the tests that call what has changed, the quickest first. Which tests call what was recorded before, each
test in a fork of its own, so that none profits from what another has cached; and as it is the module passes them in this order.
A test that calls it in another process only is not seen to, and its mutants count as missed.

The long way, for what has happened by the time the tests are collected (lines of the module itself, decorators, what makes a table
of cases): a fork of a process that holds nothing of the house takes the changed source from the import system and runs all tests.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.machinery
import importlib.util
import itertools
import multiprocessing
import os
import re
import resource
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import CodeType, FrameType, FunctionType

import pytest
from _pytest.mark import KeywordMatcher
from _pytest.mark.expression import Expression

ROOT = Path(__file__).parent.parent
MEMORY = 6 << 30  # bytes of data that a mutant may take
TICK = 5.0  # seconds between looks at those that run
LONG_WAY = 3  # exit code
FORK = multiprocessing.get_context("fork")
OURS = "benchmark|tests|conftest|test_|__main"  # what each fork of the long way imports for itself
OPTIONS = ["-q", "-s", "-m", "not slow", "-p", "pytest_timeout", "-p", "_hypothesis_pytestplugin", "--hypothesis-profile=mutants",
           "-W", "ignore:Module already imported"]  # fmt: skip  # the fork holds hypothesis from its first moment


@dataclass
class Mutant:
    module: str  # metrics/masking
    line: int
    operator: str
    before: str  # the lines that differ
    after: str
    source: str  # the whole module
    outcome: str = ""  # killed, timeout, survived
    seconds: float = 0.0

    @property
    def key(self) -> tuple[str, str, str]:
        """What names it in docs/mutants.md: no line number, so that other edits do not matter."""
        return self.module, " ".join(self.before.split()), " ".join(self.after.split())

    @property
    def place(self) -> tuple[str, int, str, str]:
        """What names it in a file of outcomes."""
        return self.module, self.line, self.operator, self.after


def outcomes(module: str, tests: list[str], todo: list[Mutant], workers: int) -> Iterator[Mutant]:
    """The mutants of one module, each with its outcome, as they end.

    Args:
        tests: of the module, ``folder/name`` or ``folder/name -k expression`` for ``tests/folder/test_name.py``.

    Raises:
        SystemExit: the tests fail on the module as it is, or there are none.
    """
    mine, theirs = FORK.Pipe(duplex=False)
    session = start(_session, module, tests, todo, workers, theirs)
    theirs.close()
    long_way = []
    with contextlib.suppress(EOFError):  # it has ended
        seconds, names = mine.recv()
        print(f"{module}: {len(todo)} mutants, the tests take {seconds:.1f} s", flush=True)
        while True:
            i, todo[i].outcome, todo[i].seconds = mine.recv()
            if todo[i].outcome:
                yield todo[i]
            else:
                long_way.append(todo[i])
    session.join()
    if session.exitcode:
        raise SystemExit(f"the tests of {module} fail as it is: {'; '.join(tests)}")
    if long_way:
        hold(names)
        launch = lambda m: start(_fresh, m.module, tests, m.source, 10 + 3 * seconds)
        yield from run(long_way, launch, lambda m: 10 + 3 * seconds, workers)


def start(work: Callable, *args) -> multiprocessing.Process:
    process = FORK.Process(target=work, args=args)
    process.start()
    return process


def run(
    todo: list[Mutant], launch: Callable, limit: Callable[[Mutant], float], workers: int
) -> Iterator[Mutant]:
    """Each with its outcome, as they end, ``workers`` at a time; none where it must go the long way."""
    waiting, running = iter(todo), {}
    while True:
        for m in itertools.islice(waiting, workers - len(running)):
            running[launch(m)] = m
        if not running:
            return
        begin = time.monotonic()
        wait([process.sentinel for process in running], TICK)
        passed = min(
            time.monotonic() - begin, TICK
        )  # while all are stopped (kill -STOP) no time passes
        for process, m in list(running.items()):
            m.seconds += passed
            if process.is_alive() and m.seconds > 6 * limit(m):  # the limit is one of CPU time
                process.kill()
                process.join()
            if not process.is_alive():
                m.outcome = {0: "survived", LONG_WAY: ""}.get(
                    process.exitcode, "killed" if process.exitcode > 0 else "timeout"
                )
                del running[process]
                yield m


def silent(limit: float) -> None:
    """No input, no output, so much CPU time and memory for this process."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 1))


# --------------------------------------------------------------------------------------------- the short way


class Session:
    """A plugin of pytest that runs mutants where it would run the tests."""

    def __init__(
        self, module: str, tests: list[str], todo: list[Mutant], workers: int, out: Connection
    ) -> None:
        self.path = str(ROOT / "benchmark" / f"{module}.py")
        self.tests = [
            (test_file(name), k) for name, _, k in (test.partition(" -k ") for test in tests)
        ]
        self.todo, self.workers, self.out = todo, workers, out
        self.code = compiled(Path(self.path).read_text(), self.path)
        self.called: set[tuple[str, int]] = set()

    def watch(self, frame: FrameType, event: str, arg: object) -> None:
        if frame.f_code.co_filename == self.path:
            self.called.add(key(frame.f_code))

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [
            i
            for i in items
            if any(i.path == ROOT / file and chosen(i, k) for file, k in self.tests)
        ]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        sys.settrace(None)
        if not session.items:
            raise SystemExit("no tests")
        counts = Counter(key(code) for code in tree(self.code))
        self.early = self.called | {name for name, n in counts.items() if n > 1}
        self.functions = [
            f
            for f in gc.get_objects()
            if type(f) is FunctionType and f.__code__.co_filename == self.path
        ]
        gc.collect()
        gc.freeze()  # what is here stays: no fork need look through it
        names: set[str] = set()
        self.costs = []
        for item in session.items:
            mine, theirs = FORK.Pipe(duplex=False)
            process = start(self.measure, item, theirs)
            theirs.close()
            seconds, called, imported = mine.recv()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{item.nodeid} fails")
            self.costs.append((seconds, called, item))
            names |= imported
        self.costs.sort(key=lambda cost: cost[0])
        process = start(self.passes, [(seconds, item) for seconds, _, item in self.costs])
        process.join()
        if process.exitcode:
            raise SystemExit("a test fails after another")
        self.out.send((sum(seconds for seconds, *_ in self.costs), sorted(names)))
        place = {id(m): i for i, m in enumerate(self.todo)}
        for m in run(
            self.todo, self.launch, lambda m: 10 + 3 * sum(s for s, *_ in self.costs), self.workers
        ):
            self.out.send((place[id(m)], m.outcome, m.seconds))
        return True

    def measure(self, item: pytest.Item, out: Connection) -> None:
        """One test: seconds of CPU, the functions that it calls, the modules that it has imported."""
        self.called = set()
        begin = time.process_time()
        threading.settrace(self.watch)
        sys.settrace(self.watch)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        sys.settrace(None)
        names = {name for name in sys.modules if not re.match(OURS, name)}
        out.send((time.process_time() - begin, self.called, names))
        os._exit(item.session.testsfailed)

    def launch(self, m: Mutant) -> multiprocessing.Process:
        code = compiled(m.source, self.path)
        names = changed(self.code, code)
        items = [(seconds, item) for seconds, called, item in self.costs if called & names]
        return start(self.child, code, set() if names & self.early else names, items)

    def child(
        self, code: CodeType, names: set[tuple[str, int]], items: list[tuple[float, pytest.Item]]
    ) -> None:
        """As ``passes``, with other code; or leaves with ``LONG_WAY``."""
        new = dict(pairs(self.code, code))
        mine = [(f, new[key(f.__code__)]) for f in self.functions if key(f.__code__) in new]
        mine = [(f, to) for f, to in mine if f.__code__ != to]
        if not names or (items and not mine):
            os._exit(LONG_WAY)
        try:
            for f, to in mine:
                f.__code__ = to
        except ValueError:  # other free variables
            os._exit(LONG_WAY)
        self.passes(items)

    def passes(self, items: list[tuple[float, pytest.Item]]) -> None:
        """Leaves with 0 if all tests pass, 1 if one does not."""
        silent(5 + 3 * sum(seconds for seconds, _ in items))
        for item, following in itertools.pairwise([*(item for _, item in items), None]):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if item.session.testsfailed:
                os._exit(1)
        os._exit(0)


def _session(
    module: str, tests: list[str], todo: list[Mutant], workers: int, out: Connection
) -> None:
    session = Session(module, tests, todo, workers, out)
    sys.settrace(session.watch)
    files = dict.fromkeys(file for file, _ in session.tests)
    os._exit(int(pytest.main([*OPTIONS, "--tb=short", *files], plugins=[session])))


def test_file(name: str) -> str:
    """``metrics/occlusion`` -> ``tests/metrics/test_occlusion.py``."""
    folder, _, leaf = name.rpartition("/")
    return f"tests/{folder}/test_{leaf}.py"


def chosen(item: pytest.Item, expression: str) -> bool:
    return not expression or Expression.compile(expression).evaluate(KeywordMatcher.from_item(item))


def compiled(text: str, path: str) -> CodeType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        return compile(text, path, "exec", dont_inherit=True)


def key(code: CodeType) -> tuple[str, int]:
    return code.co_qualname, code.co_firstlineno


def inner(code: CodeType) -> list[CodeType]:
    return [value for value in code.co_consts if isinstance(value, CodeType)]


def tree(code: CodeType) -> Iterator[CodeType]:
    yield code
    for part in inner(code):
        yield from tree(part)


def pairs(a: CodeType, b: CodeType) -> Iterator[tuple[tuple[str, int], CodeType]]:
    """Names of the code objects of one module, with their counterparts in another state of it."""
    yield key(a), b
    for x, y in zip(inner(a), inner(b), strict=False):
        yield from pairs(x, y)


def changed(a: CodeType, b: CodeType) -> set[tuple[str, int]]:
    """Names of the code objects that differ, those within them aside."""
    own = lambda c: (
        c.co_code,
        c.co_names,
        c.co_varnames,
        c.co_freevars,
        c.co_cellvars,
        c.co_flags,
        len(inner(c)),
        [repr(value) for value in c.co_consts if not isinstance(value, CodeType)],
    )
    out = set() if own(a) == own(b) else {key(a)}
    return out.union(*(changed(x, y) for x, y in zip(inner(a), inner(b), strict=False)))


# --------------------------------------------------------------------------------------------- the long way


class Source(importlib.machinery.SourceFileLoader):
    """Finds one module, and loads it from a text."""

    def __init__(self, module: str, text: str) -> None:
        name = "benchmark." + module.replace("/", ".")
        super().__init__(name, str(ROOT / "benchmark" / f"{module}.py"))
        self.text = text

    def find_spec(self, name, path, target=None):
        return (
            importlib.util.spec_from_file_location(name, self.path, loader=self)
            if name == self.name
            else None
        )

    def get_code(self, name):
        return compiled(self.text, self.path)


def _fresh(module: str, tests: list[str], text: str, limit: float) -> None:
    """Runs the tests of a module on another source of it; leaves with pytest's exit code."""
    silent(limit)
    sys.meta_path.insert(0, Source(module, text))
    for test in tests:
        name, _, expression = test.partition(" -k ")
        code = pytest.main([*OPTIONS, "-x", "--tb=no", "-k", expression, test_file(name)])
        if code:
            os._exit(1)
    os._exit(0)


def hold(names: list[str]) -> None:
    """Imports what the tests import from elsewhere, so that forks of this process have it."""
    for name in names:
        with (
            contextlib.suppress(Exception),
            warnings.catch_warnings(),
        ):  # some exist in the tests' process alone
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
