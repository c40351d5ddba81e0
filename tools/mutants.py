"""Do the tests notice when the code is wrong? Mutants of the metrics and of the leaderboard's statistics, counted.

    python -m tools.mutants                              # all modules that pyproject.toml names (make mutants)
    python -m tools.mutants metrics/masking --out m.jsonl     # the same again goes on where this was cut short
    python -m tools.mutants metrics/masking --out m.jsonl --again     # only those that survived, by the tests of now
    python -m tools.mutants --sample 300 --seed 1        # a random sample, with its interval

Idea: change one operator, number or keyword of a module, run the tests of that module, and see whether one fails. A mutant
that no test notices is a test that is missing, or code that could be otherwise (equivalent): those were examined one by one
and stand in docs/mutants.md, with the reason. The raw share counts them as missed; the adjusted one leaves them out.

The mutants are cosmic-ray's; no file is touched (``tools/mutant_runs.py`` says how they run). Not counted: what does not compile,
and what differs in annotations or docstrings alone, which nothing evaluates. Out of time or memory counts as caught. Their
order is random (``--seed``), so of each module that a run has come to when it is cut short a random sample is done, and
``--sample`` 300 and then 600 with one seed and one ``--out`` are one sample of 600.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import re
import sys
import tomllib
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

from tools.mutant_runs import ROOT, Mutant, outcomes

EXAMINED = ROOT / "docs" / "mutants.md"


# --------------------------------------------------------------------------------------------- mutants


def mutants(module: str, skip: re.Pattern) -> Iterator[Mutant]:
    """All mutants of a module, statement by statement."""
    source = (ROOT / "benchmark" / f"{module}.py").read_text()
    lines = source.splitlines(keepends=True)
    operators = {
        n: plugins.get_operator(n)() for n in plugins.operator_names() if not skip.search(n)
    }
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
                    yield Mutant(
                        module, first + line, name.removeprefix("core/"), before, after, whole
                    )


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
        if (
            isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module)
            and ast.get_docstring(node) is not None
        ):
            node.body[0] = ast.Pass()
    return ast.dump(tree)


def difference(a: str, b: str) -> tuple[int, str, str]:
    """Line number and the lines that differ, before and after."""
    a, b = a.splitlines(), b.splitlines()
    _, i, j, k, m = next(
        block for block in difflib.SequenceMatcher(None, a, b).get_opcodes() if block[0] != "equal"
    )
    return i + 1, "\n".join(a[i:j]), "\n".join(b[k:m])


# --------------------------------------------------------------------------------------------- counts


def examined() -> dict[tuple[str, str, str], str]:
    """Equivalent mutants of docs/mutants.md: (module, before, after) -> why."""
    cells = [
        re.split(r"(?<!\\)\|", line)[1:-1]
        for line in EXAMINED.read_text().splitlines()
        if line.startswith("| `")
    ]
    plain = [
        [cell.replace("\\|", "|").strip().strip("`").strip() for cell in line] for line in cells
    ]
    return {(m, before, after): why for m, before, after, why in plain}


def wilson(hits: int, n: int) -> str:
    """95 % interval of a share."""
    z, p = 1.96, hits / max(n, 1)
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return f"{low:.1%} to {high:.1%}"


def table(every: list[Mutant]) -> str:
    """Lines of Markdown: module, mutants, how many were run, caught, equivalent, raw and adjusted share with its interval."""
    known = examined()
    modules = sorted({m.module for m in every})
    groups = [(module, [m for m in every if m.module == module]) for module in modules]
    rooms = sorted({module.split("/")[0] for module in modules})
    groups += [(room, [m for m in every if m.module.startswith(room + "/")]) for room in rooms] + [
        ("all", every)
    ]
    out = [
        "| module | mutants | run | caught | of them by time or memory | missed | equivalent | raw | adjusted | if a sample, 95 % |",
        "| --- |" + " ---: |" * 8 + " --- |",
    ]
    for name, group in groups:
        done = [m for m in group if m.outcome]
        missed = [m for m in done if m.outcome == "survived"]
        same, n, late = (
            sum(m.key in known for m in missed),
            len(done),
            sum(m.outcome == "timeout" for m in done),
        )
        caught = n - len(missed)
        shares = (
            f"{caught / n:.1%} | {caught / (n - same):.1%} | {wilson(caught, n - same)}"
            if n > same
            else " | | "
        )
        out.append(
            f"| {name} | {len(group)} | {n} | {caught} | {late} | {len(missed) - same} | {same} | {shares} |"
        )
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "modules", nargs="*", help="metrics/masking ...; all that pyproject.toml names"
    )
    parser.add_argument(
        "--sample", type=int, help="that many mutants, at random, of all modules together"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, help="a line of JSON a mutant; those that it holds are not run again"
    )
    parser.add_argument(
        "--again", action="store_true", help="only those that survived, as --out says"
    )
    parser.add_argument("--workers", type=int, default=1, help="mutants at a time")
    args = parser.parse_args()
    os.chdir(ROOT)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = (
        "1"  # those that are not needed take a second a mutant
    )
    sys.dont_write_bytecode = False  # nor compile the tests for each
    sys.path.insert(0, str(ROOT))
    setting = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutants"]
    skip, known = re.compile("|".join(setting["skip"])), examined()
    every = [m for name in args.modules or setting["tests"] for m in mutants(name, skip)]
    chosen = [
        every[i] for i in np.random.default_rng(args.seed).permutation(len(every))[: args.sample]
    ]
    before = args.out.read_text().splitlines() if args.out and args.out.exists() else []
    found = {
        (d["module"], d["line"], d["operator"], d["after"]): d["outcome"]
        for d in map(json.loads, before)
    }
    for m in every:
        m.outcome = found.get(m.place, "")
    todo = [m for m in chosen if m.outcome == ("survived" if args.again else "")]
    with args.out.open("a") if args.out else open(os.devnull, "w") as file:
        for name, tests in setting["tests"].items():
            mine = [m for m in todo if m.module == name]
            for m in outcomes(name, tests, mine, args.workers) if mine else []:
                if m.outcome == "survived" and m.key not in known:
                    where = f"  benchmark/{m.module}.py:{m.line} {m.operator}"
                    print(f"{where}\n    - {m.before.strip()}\n    + {m.after.strip()}", flush=True)
                line = asdict(m) | {"seconds": round(m.seconds, 2)}
                del line["source"]
                print(json.dumps(line), file=file, flush=True)
    print(table(every))


if __name__ == "__main__":
    main()
