"""Do the tests notice when the code is wrong? Mutants of the metrics and of the leaderboard's statistics, counted.

    python -m tests.mutants                              # all modules that pyproject.toml names (make mutants)
    python -m tests.mutants metrics/masking --out m.jsonl
    python -m tests.mutants --sample 300 --seed 1        # a random sample, with its interval

Idea: change one operator, number or keyword of a module, run the tests of that module, and see whether one fails. A mutant
that no test notices is a test that is missing, or code that could be otherwise (equivalent): those were examined one by one
and stand in docs/mutants.md, with the reason. The raw share counts them as missed; the adjusted one leaves them out.

The mutants are cosmic-ray's. Each runs in a fork of one process that has imported torch, pandas and the like but nothing of
the house; the changed source is handed to the import system, no file is touched. Not counted: what does not compile, and
what differs in annotations or docstrings alone, which nothing evaluates. Out of time or memory counts as caught.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import gc
import importlib
import importlib.machinery
import importlib.util
import json
import multiprocessing
import os
import re
import resource
import sys
import time
import tomllib
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

ROOT = Path(__file__).parent.parent
MEMORY = 6 << 30  # bytes of data that a mutant may take
USUAL = 15.0  # seconds of CPU of a module's tests, where they are not measured
EXAMINED = ROOT / "docs" / "mutants.md"
FORK = multiprocessing.get_context("fork")


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


# --------------------------------------------------------------------------------------------- mutants


def mutants(module: str, skip: re.Pattern) -> Iterator[Mutant]:
    """All mutants of a module, statement by statement."""
    source = (ROOT / "benchmark" / f"{module}.py").read_text()
    lines = source.splitlines(keepends=True)
    operators = {n: plugins.get_operator(n)() for n in plugins.operator_names() if not skip.search(n)}
    for statement in ast.parse(source).body:
        first = min(n.lineno for n in (statement, *getattr(statement, "decorator_list", ()))) - 1
        last = statement.end_lineno
        piece = "".join(lines[first:last])
        nodes, clean = list(ast_nodes(get_ast(piece))), meaning(piece)
        for name, operator in operators.items():
            for k in range(sum(len(list(operator.mutation_positions(node))) for node in nodes)):
                try:
                    text = mutate_code(piece, operator, k)
                except AttributeError:  # cosmic-ray 8.7 on ``except (A, B)``
                    continue
                if meaning(text) not in (None, clean):
                    line, before, after = difference(piece, text)
                    whole = "".join([*lines[:first], text, *lines[last:]])
                    yield Mutant(module, first + line, name.removeprefix("core/"), before, after, whole)


def meaning(source: str) -> str | None:
    """The syntax tree without annotations and docstrings; None if there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(source)
            compile(source, "mutant", "exec")
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            node.annotation = ast.Constant(...)
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return ast.dump(tree)


def difference(a: str, b: str) -> tuple[int, str, str]:
    """Line number and the lines that differ, before and after."""
    a, b = a.splitlines(), b.splitlines()
    _, i, j, k, m = next(block for block in difflib.SequenceMatcher(None, a, b).get_opcodes() if block[0] != "equal")
    return i + 1, "\n".join(a[i:j]), "\n".join(b[k:m])


# --------------------------------------------------------------------------------------------- runs


class Source(importlib.machinery.SourceFileLoader):
    """Finds one module, and loads it from a text."""

    def __init__(self, module: str, text: str) -> None:
        name = "benchmark." + module.replace("/", ".")
        super().__init__(name, str(ROOT / "benchmark" / f"{module}.py"))
        self.text = text

    def find_spec(self, name, path, target=None):
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, name):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return compile(self.text, self.path, "exec")


def child(tests: list[str], module: str, text: str | None, limit: float, imported) -> None:
    """Runs the tests of a module, with its source as it is (None) or another; leaves with pytest's exit code."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2) if text else (0,):
        os.dup2(null, stream)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit)))
    if text:
        sys.meta_path.insert(0, Source(module, text))
    quiet = f"-x -q -p pytest_timeout -p _hypothesis_pytestplugin --hypothesis-profile=mutants --tb={'no' if text else 'short'}"
    held = "ignore:Module already imported"  # the fork holds hypothesis from its first moment
    for test in tests:
        name, _, chosen = test.partition(" -k ")
        code = pytest.main([*quiet.split(), "-m", "not slow", "-W", held, "-k", chosen, f"tests/test_{name}.py"])
        if code:
            break
    if imported:
        imported.send([name for name in sys.modules if not re.match(OURS, name)])
    os._exit(int(code))


OURS = "benchmark|tests|conftest|test_|__main"  # what each fork imports for itself


def fork(*args) -> multiprocessing.Process:
    process = FORK.Process(target=child, args=args)
    process.start()
    return process


def run(tests: list[str], module: str, text: str, limit: float) -> str:
    process = fork(tests, module, text, limit, None)
    process.join(6 * limit)  # the limit is one of CPU time
    if process.is_alive():
        process.kill()
        process.join()
    if process.exitcode in (4, 5):
        raise SystemExit(f"pytest found no tests in {'; '.join(tests)}")
    return "survived" if process.exitcode == 0 else "timeout" if process.exitcode < 0 else "killed"


def baseline(tests: list[str], module: str) -> float:
    """Seconds of CPU that the tests of a module take as it is; this process then holds all that they import from elsewhere.

    Raises:
        SystemExit: they fail.
    """
    mine, theirs = FORK.Pipe(duplex=False)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = fork(tests, module, None, 600, theirs)
    theirs.close()
    with contextlib.suppress(EOFError):  # it died
        found = mine.recv()
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"the tests of {module} fail as it is: {'; '.join(tests)}")
    for name in sorted(found):
        with contextlib.suppress(Exception), warnings.catch_warnings():  # some exist in the tests' process alone
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is here stays: no fork need look through it
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# --------------------------------------------------------------------------------------------- counts


def examined() -> dict[tuple[str, str, str], str]:
    """Equivalent mutants of docs/mutants.md: (module, before, after) -> why."""
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in EXAMINED.read_text().splitlines() if line.startswith("| `")]
    plain = [[cell.replace("\\|", "|").strip().strip("`").strip() for cell in line] for line in cells]
    return {(m, before, after): why for m, before, after, why in plain}


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share."""
    z, p = 1.96, hits / n
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def table(done: list[Mutant]) -> str:
    """Lines of Markdown: module, mutants, caught, equivalent, raw and adjusted share."""
    known = examined() if EXAMINED.exists() else {}
    modules = sorted({m.module for m in done})
    groups = [(module, [m for m in done if m.module == module]) for module in modules]
    rooms = sorted({module.split("/")[0] for module in modules})
    groups += [(room, [m for m in done if m.module.startswith(room + "/")]) for room in rooms] + [("all", done)]
    out = [
        "| module | mutants | caught | of them by time or memory | missed | equivalent | raw | adjusted |",
        "| --- |" + " ---: |" * 7,
    ]
    for name, group in groups:
        missed = [m for m in group if m.outcome == "survived"]
        same, n = sum(m.key in known for m in missed), len(group)
        caught, late = n - len(missed), sum(m.outcome == "timeout" for m in group)
        out.append(
            f"| {name} | {n} | {caught} | {late} | {len(missed) - same} | {same} | {caught / n:.1%} | {caught / max(n - same, 1):.1%} |"
        )
    low, high = wilson(sum(m.outcome != "survived" for m in done), len(done))
    return "\n".join([*out, "", f"raw share, 95 % interval if this is a sample: {low:.1%} to {high:.1%}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="metrics/masking ...; all that pyproject.toml names")
    parser.add_argument("--sample", type=int, help="that many mutants, at random, of all modules together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", type=Path, help="only those that survived in this file of outcomes")
    parser.add_argument(
        "--trust", action="store_true", help="do not run the tests of each module on the module as it is first"
    )
    parser.add_argument("--out", type=Path, help="a line of JSON a mutant")
    args = parser.parse_args()
    os.chdir(ROOT)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # those that are not needed take a second a mutant
    sys.dont_write_bytecode = False  # nor compile the tests for each
    sys.path.insert(0, str(ROOT))
    setting = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutants"]
    skip = re.compile("|".join(setting["skip"]))
    names = args.modules or list(setting["tests"])
    todo = [m for name in names for m in mutants(name, skip)]
    if args.again:
        before = [json.loads(line) for line in args.again.read_text().splitlines()]
        left = {(m["module"], m["before"], m["after"]) for m in before if m["outcome"] == "survived"}
        todo = [m for m in todo if (m.module, m.before, m.after) in left]
    if args.sample:
        chosen = np.random.default_rng(args.seed).choice(len(todo), min(args.sample, len(todo)), replace=False)
        todo = [todo[i] for i in sorted(chosen)]
    known, done, file = examined() if EXAMINED.exists() else {}, [], args.out and args.out.open("w")
    for name in names:
        mine = [m for m in todo if m.module == name]
        if not mine:
            continue
        tests = setting["tests"][name]
        usual = USUAL if args.trust and done else baseline(tests, name)
        print(f"{name}: {len(mine)} mutants, the tests take {usual:.1f} s", flush=True)
        for m in mine:
            start = time.perf_counter()
            m.outcome = run(tests, name, m.source, 10 + 3 * usual)
            m.seconds = round(time.perf_counter() - start, 2)
            if m.outcome == "survived" and m.key not in known:
                print(
                    f"  benchmark/{name}.py:{m.line} {m.operator}\n    - {m.before.strip()}\n    + {m.after.strip()}",
                    flush=True,
                )
            done.append(m)
            if file:
                line = asdict(m)
                del line["source"]
                print(json.dumps(line), file=file, flush=True)
    gc.unfreeze()
    print(table(done))


if __name__ == "__main__":
    main()
