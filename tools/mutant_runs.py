"""Runs the tests of a module on its mutants, each in a fork.

The short way: one process imports and collects all tests of the module. A fork of it gives the functions their changed
code (``__code__``) and runs the tests that call what has changed, the quickest first. Which test calls what is recorded
beforehand, with each test in a fork of its own, so that none profits from what another has cached; and the unchanged
module must pass them in this order. Calls in another process are not seen, and mutants that only such calls reach count
as missed.

The long way, for code that has run by the time the tests are collected (statements of the module itself, decorators,
the making of a table of cases): a fork of a process that has imported nothing of the project takes the changed source
from the import system and runs all tests.
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
TICK = 5.0  # seconds between checks of the running mutants
LONG_WAY = 3  # exit code
FORK = multiprocessing.get_context("fork")
# modules that each fork of the long way imports
OURS = "benchmark|glassbench|tools|tests|conftest|test_|__main"
OPTIONS = [
    "-q",
    "-s",
    "-m",
    "not slow",
    "-p",
    "pytest_timeout",
    "-p",
    "_hypothesis_pytestplugin",
    "--hypothesis-profile=mutants",
    "-W",
    "ignore:Module already imported",  # the fork has hypothesis from the start
]


@dataclass
class Mutant:
    """A module with one change, and what became of it."""

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
        """Its name in docs/mutants.md: without the line number, so that other edits do not matter."""
        return self.module, " ".join(self.before.split()), " ".join(self.after.split())

    @property
    def place(self) -> tuple[str, int, str, str]:
        """Its name in a file of outcomes."""
        return self.module, self.line, self.operator, self.after


def outcomes(
    module: str, tests: list[str], todo: list[Mutant], workers: int
) -> Iterator[Mutant]:
    """The mutants of one module, each with its outcome, as they end.

    Args:
        tests: of the module, ``folder/name`` or ``folder/name -k expression`` for ``tests/folder/test_name.py``.

    Raises:
        SystemExit: the tests fail on the unchanged module, or there are none.
    """
    mine, theirs = FORK.Pipe(duplex=False)
    session = start(_session, module, tests, todo, workers, theirs)
    theirs.close()
    long_way = []
    with contextlib.suppress(EOFError):  # it has ended
        seconds, names = mine.recv()
        print(
            f"{module}: {len(todo)} mutants, the tests take {seconds:.1f} s", flush=True
        )
        while True:
            i, todo[i].outcome, todo[i].seconds = mine.recv()
            if todo[i].outcome:
                yield todo[i]
            else:
                long_way.append(todo[i])
    session.join()
    if session.exitcode:
        raise SystemExit(
            f"the tests of {module} fail without any change: {'; '.join(tests)}"
        )
    if long_way:
        hold(names)
        limit = 10 + 3 * seconds
        unchanged = (ROOT / "benchmark" / f"{module}.py").read_text()
        process = start(_fresh, module, tests, unchanged, limit)
        process.join()
        if process.exitcode:
            raise SystemExit(f"the tests of {module} fail on a fresh import of it")

        def launch(m: Mutant) -> multiprocessing.Process:
            return start(_fresh, m.module, tests, m.source, limit)

        yield from run(long_way, launch, limit, workers)


def start(work: Callable, *args) -> multiprocessing.Process:
    process = FORK.Process(target=work, args=args)
    process.start()
    return process


def run(
    todo: list[Mutant], launch: Callable, limit: float, workers: int
) -> Iterator[Mutant]:
    """Each mutant with its outcome, as they end, ``workers`` at a time; no outcome if it must go the long way."""
    waiting, running = iter(todo), {}
    while True:
        for m in itertools.islice(waiting, workers - len(running)):
            running[launch(m)] = m
        if not running:
            return
        begin = time.monotonic()
        wait([process.sentinel for process in running], TICK)
        # While all are stopped (kill -STOP) no time passes.
        passed = min(time.monotonic() - begin, TICK)
        for process, m in list(running.items()):
            m.seconds += passed
            if (
                process.is_alive() and m.seconds > 6 * limit
            ):  # the limit itself is one of CPU time
                process.kill()
                process.join()
            if not process.is_alive():
                m.outcome = outcome(process.exitcode)
                del running[process]
                yield m


def outcome(exit_code: int) -> str:
    """What an exit code says of a mutant; empty if it must go the long way."""
    if exit_code == 0:
        return "survived"
    if exit_code == LONG_WAY:
        return ""
    return "killed" if exit_code > 0 else "timeout"  # below 0: a signal


def silent(limit: float) -> None:
    """Give this process no input, no output, and ``limit`` seconds of CPU time; limit its memory."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 1))


# --------------------------------------------------------------------------------------------- the short way


class Session:
    """A plugin of pytest that runs mutants where it would run the tests."""

    def __init__(
        self,
        module: str,
        tests: list[str],
        todo: list[Mutant],
        workers: int,
        out: Connection,
    ) -> None:
        self.path = str(ROOT / "benchmark" / f"{module}.py")
        self.tests = []
        for test in tests:
            name, _, expression = test.partition(" -k ")
            self.tests.append((test_file(name), expression))
        self.todo, self.workers, self.out = todo, workers, out
        self.code = compiled(Path(self.path).read_text(), self.path)
        self.called: set[tuple[str, int]] = set()

    def watch(self, frame: FrameType, event: str, arg: object) -> None:
        """A trace function that notes which of the module's functions are called."""
        if frame.f_code.co_filename == self.path:
            self.called.add(key(frame.f_code))

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if self.wants(item)]

    def wants(self, item: pytest.Item) -> bool:
        """Is it one of the module's tests?"""
        expressions = [k for file, k in self.tests if item.path == ROOT / file]
        return any(chosen(item, expression) for expression in expressions)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        sys.settrace(None)
        if not session.items:
            raise SystemExit("no tests")
        counts = Counter(key(code) for code in tree(self.code))
        twice = {name for name, n in counts.items() if n > 1}
        self.early = self.called | twice  # what the short way cannot change
        self.functions = [f for f in gc.get_objects() if self.is_ours(f)]
        gc.collect()
        gc.freeze()  # these objects stay, so that no fork need look through them
        names = self.measure_all(session.items)
        items = [(seconds, item) for seconds, _, item in self.costs]
        process = start(self.passes, items)
        process.join()
        if process.exitcode:
            raise SystemExit("a test fails after another")
        total = sum(seconds for seconds, _ in items)
        self.out.send((total, sorted(names)))
        place = {id(m): i for i, m in enumerate(self.todo)}
        for m in run(self.todo, self.launch, 10 + 3 * total, self.workers):
            self.out.send((place[id(m)], m.outcome, m.seconds))
        return True

    def is_ours(self, found: object) -> bool:
        """Is it a function of the module?"""
        return type(found) is FunctionType and found.__code__.co_filename == self.path

    def measure_all(self, items: list[pytest.Item]) -> set[str]:
        """Fill ``costs``, the quickest test first; the names of all modules that the tests import."""
        names: set[str] = set()
        self.costs = []
        for item in items:
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
        return names

    def measure(self, item: pytest.Item, out: Connection) -> None:
        """Send of one test: its CPU seconds, the functions that it calls, the modules that it imports."""
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
        """Run a mutant in a fork."""
        code = compiled(m.source, self.path)
        names = changed(self.code, code)
        items = []
        for seconds, called, item in self.costs:
            if called & names:
                items.append((seconds, item))
        if names & self.early:
            names = set()
        return start(self.child, code, names, items)

    def child(
        self,
        code: CodeType,
        names: set[tuple[str, int]],
        items: list[tuple[float, pytest.Item]],
    ) -> None:
        """As ``passes``, with the changed code; or exits with ``LONG_WAY``."""
        new = dict(pairs(self.code, code))
        mine = []
        for function in self.functions:
            to = new.get(key(function.__code__))
            if to is not None and function.__code__ != to:
                mine.append((function, to))
        if not names or (items and not mine):
            os._exit(LONG_WAY)
        try:
            for function, to in mine:
                function.__code__ = to
        except ValueError:  # other free variables
            os._exit(LONG_WAY)
        self.passes(items)

    def passes(self, items: list[tuple[float, pytest.Item]]) -> None:
        """Exits with 0 if all tests pass, 1 if one does not."""
        silent(5 + 3 * sum(seconds for seconds, _ in items))
        tests = [item for _, item in items]
        for item, following in itertools.pairwise([*tests, None]):
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
    return not expression or Expression.compile(expression).evaluate(
        KeywordMatcher.from_item(item)
    )


def compiled(text: str, path: str) -> CodeType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        return compile(text, path, "exec", dont_inherit=True)


def key(code: CodeType) -> tuple[str, int]:
    """Its name in this module."""
    return code.co_qualname, code.co_firstlineno


def inner(code: CodeType) -> list[CodeType]:
    return [value for value in code.co_consts if isinstance(value, CodeType)]


def tree(code: CodeType) -> Iterator[CodeType]:
    yield code
    for part in inner(code):
        yield from tree(part)


def pairs(a: CodeType, b: CodeType) -> Iterator[tuple[tuple[str, int], CodeType]]:
    """The name of each code object of a module, with its counterpart in a changed version of the module."""
    yield key(a), b
    for x, y in zip(inner(a), inner(b), strict=False):
        yield from pairs(x, y)


def changed(a: CodeType, b: CodeType) -> set[tuple[str, int]]:
    """Names of the code objects that differ; those inside them are compared by themselves."""
    out = set() if content(a) == content(b) else {key(a)}
    for x, y in zip(inner(a), inner(b), strict=False):
        out |= changed(x, y)
    return out


def content(code: CodeType) -> tuple:
    """All that a code object does, apart from the code objects inside it."""
    constants = [
        repr(value) for value in code.co_consts if not isinstance(value, CodeType)
    ]
    return (
        code.co_code,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        code.co_flags,
        len(inner(code)),
        constants,
    )


# --------------------------------------------------------------------------------------------- the long way


class Source(importlib.machinery.SourceFileLoader):
    """An importer that finds one module, and loads it from a text."""

    def __init__(self, module: str, text: str) -> None:
        name = "benchmark." + module.replace("/", ".")
        super().__init__(name, str(ROOT / "benchmark" / f"{module}.py"))
        self.text = text

    def find_spec(self, name, path, target=None):
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def get_code(self, name):
        return compiled(self.text, self.path)


def _fresh(module: str, tests: list[str], text: str, limit: float) -> None:
    """Run the tests of a module on another source of it; exits with 0 if all pass, else 1."""
    silent(limit)
    source = Source(module, text)
    if source.name in sys.modules:  # it would not be read again
        os._exit(1)
    sys.meta_path.insert(0, source)
    for test in tests:
        name, _, expression = test.partition(" -k ")
        code = pytest.main(
            [*OPTIONS, "-x", "--tb=no", "-k", expression, test_file(name)]
        )
        if code:
            os._exit(1)
    os._exit(0)


def hold(names: list[str]) -> None:
    """Import what the tests import from elsewhere, so that forks of this process have it."""
    for name in names:
        # Some exist only in the tests' process.
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
