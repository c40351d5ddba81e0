"""Do the tests notice when the code is wrong? Mutants of the metrics and of the leaderboard's statistics, counted.

    python -m tools.mutants                              # all modules that pyproject.toml names (make mutants)
    python -m tools.mutants metrics/masking --out m.jsonl     # run it again to continue after an interruption
    python -m tools.mutants metrics/masking --out m.jsonl --again     # only those that survived, with today's tests
    python -m tools.mutants --sample 300 --seed 1        # a random sample, with its interval

Idea: change one operator, number or keyword of a module, run the tests of that module, and see whether one fails. A
mutant that no test notices means that a test is missing, or that the change makes no difference (an equivalent mutant).
Equivalent mutants were examined one by one; docs/mutants.md lists them with the reason. The raw share counts them as
missed; the adjusted one leaves them out.

The mutants are cosmic-ray's; no file is touched (``tools/mutant_runs.py`` says how they run). Mutants that do not
compile are not counted, nor those that differ only in annotations or docstrings, which nothing evaluates. Running out
of time or memory counts as caught. The order is random (``--seed``), so that an interrupted run has done a random
sample of each module that it reached, and ``--sample`` 300 and then 600 with one seed and one ``--out`` are one sample
of 600.
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
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator

from tools.mutant_runs import ROOT, Mutant, outcomes

EXAMINED = ROOT / "docs" / "mutants.md"


# --------------------------------------------------------------------------------------------- mutants


def mutants(module: str, skip: re.Pattern) -> Iterator[Mutant]:
    """All mutants of a module, statement by statement."""
    path = ROOT / "benchmark" / f"{module}.py"
    source = path.read_text()
    lines = source.splitlines(keepends=True)
    names = [name for name in plugins.operator_names() if not skip.search(name)]
    operators = {name: plugins.get_operator(name)() for name in names}
    for statement in ast.parse(source).body:
        decorators = getattr(statement, "decorator_list", ())
        first = min(node.lineno for node in (statement, *decorators))
        first -= 1
        last = statement.end_lineno
        piece = "".join(lines[first:last])
        head, tail = lines[:first], lines[last:]
        for operator, text in variants(piece, operators):
            line, before, after = difference(piece, text)
            whole = "".join([*head, text, *tail])
            yield Mutant(module, first + line, operator, before, after, whole)


def variants(
    piece: str, operators: Mapping[str, Operator]
) -> Iterator[tuple[str, str]]:
    """(operator, changed statement) for every change of a statement that means something else."""
    nodes, original = list(ast_nodes(get_ast(piece))), meaning(piece)
    for name, operator in operators.items():
        count = sum(len(list(operator.mutation_positions(node))) for node in nodes)
        for k in range(count):
            try:
                text = mutate_code(piece, operator, k)
            except AttributeError:  # cosmic-ray 8.7 on ``except (A, B)``
                continue
            if meaning(text) not in (None, original):
                yield name.removeprefix("core/"), text


def meaning(source: str) -> str | None:
    """The syntax tree without annotations and docstrings; None if the source does not compile."""
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
        has_body = isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module)
        if has_body and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return ast.dump(tree)


def difference(a: str, b: str) -> tuple[int, str, str]:
    """The line number of the first difference, and the lines that differ, before and after."""
    old = a.splitlines()
    new = b.splitlines()
    blocks = difflib.SequenceMatcher(None, old, new).get_opcodes()
    differing = [block for block in blocks if block[0] != "equal"]
    _, i, j, k, m = differing[0]
    before = "\n".join(old[i:j])
    after = "\n".join(new[k:m])
    return i + 1, before, after


# --------------------------------------------------------------------------------------------- counts


def examined() -> dict[tuple[str, str, str], str]:
    """Equivalent mutants of docs/mutants.md: (module, before, after) -> why."""
    found = {}
    for line in EXAMINED.read_text().splitlines():
        if not line.startswith("| `"):
            continue
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        module, before, after, why = [
            cell.replace("\\|", "|").strip().strip("`").strip() for cell in cells
        ]
        found[module, before, after] = why
    return found


def wilson(hits: int, n: int) -> str:
    """The 95 % interval of a share.

    E. B. Wilson. Probable inference, the law of succession, and statistical inference. JASA 22, 1927.
    """
    z = 1.96
    p = hits / max(n, 1)
    spread = p * (1 - p) / n + z * z / (4 * n * n)
    middle = p + z * z / (2 * n)
    half = z * np.sqrt(spread)
    size = 1 + z * z / n
    low, high = (middle - half) / size, (middle + half) / size
    return f"{low:.1%} to {high:.1%}"


HEAD = (
    "| module | mutants | run | caught | of them by time or memory | missed | equivalent | raw "
    "| adjusted | if a sample, 95 % |"
)


def table(every: list[Mutant]) -> str:
    """Lines of Markdown: the counts of each module, each package and all."""
    known = examined()
    modules = sorted({m.module for m in every})
    packages = sorted({module.split("/")[0] for module in modules})
    out = [HEAD, "| --- |" + " ---: |" * 8 + " --- |"]
    for module in modules:
        out.append(counts(module, [m for m in every if m.module == module], known))
    for package in packages:
        mine = [m for m in every if m.module.startswith(f"{package}/")]
        out.append(counts(package, mine, known))
    out.append(counts("all", every, known))
    return "\n".join(out)


def counts(
    name: str, group: list[Mutant], known: Collection[tuple[str, str, str]]
) -> str:
    """A line of the table: mutants, how many were run, caught, equivalent, and the shares."""
    done = [m for m in group if m.outcome]
    survived = [m for m in done if m.outcome == "survived"]
    late = sum(m.outcome == "timeout" for m in done)
    equivalent = sum(m.key in known for m in survived)
    n = len(done)
    caught = n - len(survived)
    missed = len(survived) - equivalent
    counted = n - equivalent
    shares = " | | "
    if counted > 0:
        shares = (
            f"{caught / n:.1%} | {caught / counted:.1%} | {wilson(caught, counted)}"
        )
    return f"| {name} | {len(group)} | {n} | {caught} | {late} | {missed} | {equivalent} | {shares} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "modules", nargs="*", help="metrics/masking ...; all that pyproject.toml names"
    )
    parser.add_argument(
        "--sample", type=int, help="that many mutants, drawn from all modules together"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out",
        type=Path,
        help="a file with a line of JSON per mutant; those in it are not run again",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="only those that survived according to --out",
    )
    parser.add_argument("--workers", type=int, default=1, help="mutants at a time")
    args = parser.parse_args()
    os.chdir(ROOT)
    # Plugins that are not needed take a second per mutant.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.dont_write_bytecode = False  # the tests are not compiled again for each mutant
    sys.path.insert(0, str(ROOT))
    setting = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutants"]
    skip, known = re.compile("|".join(setting["skip"])), examined()
    every = [
        m for name in args.modules or setting["tests"] for m in mutants(name, skip)
    ]
    order = np.random.default_rng(args.seed).permutation(len(every))
    chosen = [every[i] for i in order[: args.sample]]
    found = earlier(args.out)
    for m in every:
        m.outcome = found.get(m.place, "")
    wanted = "survived" if args.again else ""
    todo = [m for m in chosen if m.outcome == wanted]
    with args.out.open("a") if args.out else open(os.devnull, "w") as file:
        for name, tests in setting["tests"].items():
            mine = [m for m in todo if m.module == name]
            if not mine:
                continue
            for m in outcomes(name, tests, mine, args.workers):
                if m.outcome == "survived" and m.key not in known:
                    print(f"  benchmark/{m.module}.py:{m.line} {m.operator}")
                    print(
                        f"    - {m.before.strip()}\n    + {m.after.strip()}", flush=True
                    )
                line = asdict(m) | {"seconds": round(m.seconds, 2)}
                del line["source"]
                print(json.dumps(line), file=file, flush=True)
    print(table(every))


def earlier(out: Path | None) -> dict[tuple[str, int, str, str], str]:
    """The outcomes that a file of earlier runs holds, by ``Mutant.place``."""
    if not out or not out.exists():
        return {}
    found = {}
    for text in out.read_text().splitlines():
        line = json.loads(text)
        found[line["module"], line["line"], line["operator"], line["after"]] = line[
            "outcome"
        ]
    return found


if __name__ == "__main__":
    main()
