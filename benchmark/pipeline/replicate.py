"""Runs the papers' own experiments and turns their findings into rows.

A unit is an experiment on one network and seed (``Task``): a file with a key, like a cell of ``explain.py``. A unit
that fails is a file and a row that say why. ``collect`` adds the verdicts: every claim that a paper's ``verdicts`` can
judge.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark import engine, papers, store
from benchmark.api import Method, NotApplicable
from benchmark.engine import Done, Unit
from benchmark.methods.contract import PixelsOnly
from benchmark.methods.registry import MethodRef
from benchmark.papers import Check, Found, FoundUnit, Number, Outcome, Study
from benchmark.pipeline import cells, unit_times
from benchmark.pipeline.cells import Cell, remove_others
from benchmark.pipeline.inputs import load_dataset, load_target
from benchmark.pipeline.keys import replicate_key
from benchmark.pipeline.profile import Profile
from benchmark.pipeline.settings import experiment
from benchmark.store.hashes import key_of
from benchmark.utils.seeds import generator

_EVIDENCE = 4  # pieces of evidence that are quoted per claim
_LINE = 100  # letters of what is said of a task


@dataclass(frozen=True)
class Task:
    """One unit: an experiment of a paper, on one network and seed, with one value of each swept setting."""

    profile: str
    paper: str
    experiment: str
    dataset: str = ""
    target: str = ""
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    root: Path = field(default_factory=lambda: store.ROOT)

    @property
    def cell(self) -> Cell:
        """The network and data set, as the cells of the board name them."""
        return Cell(self.profile, self.dataset, self.target, self.seed, root=self.root)

    @property
    def path(self) -> Path:
        parts = (
            self.experiment,
            self.dataset,
            self.target,
            str(self.seed),
        )
        safe = [re.sub(r"[^\w.]+", "_", part) for part in parts if part]
        digest = key_of(self.settings)
        name = "-".join([*safe, digest[:8]])
        return self.cell.paths.replications(self.paper) / f"{name}.npz"

    @property
    def name(self) -> str:
        parts = [
            f"{self.paper}.{self.experiment}",
            self.dataset,
            self.target,
            f"seed={self.seed}",
            store.setting_text(self.settings),
        ]
        return " ".join(part for part in parts if part)


def tasks(profile: Profile, paper: str) -> list[Task]:
    """Every unit of a paper that the profile asks for."""
    found = []
    for entry in profile.replicate.get(paper, ()):
        for network in profile.networks(entry):  # (data set, target, seed)
            for settings in entry.swept():
                found.append(
                    Task(profile.name, paper, entry.experiment, *network, settings)
                )
    return found


# --------------------------------------------------------------------------------------------- run


def replicate_papers(profile: Profile, *papers: str) -> Iterator[Done]:
    """Run the units of these papers that are not done yet, all of them side by side."""
    paths, units = store.Paths(profile.name), []
    for paper in papers:
        todo = tasks(profile, paper)
        remove_others(paths.replications(paper), {task.path for task in todo})
        units += [unit_of(task) for task in todo]
    what = unit_times.part(papers, profile.papers)
    for done in unit_times.run(paths, "replicate", what, units):
        task = done.unit.arguments[0]
        wrote = _meta(task).get("reason") if done.error else None
        if wrote != done.error:  # its worker died, or the disk is full
            with contextlib.suppress(OSError):
                _write(
                    task,
                    Outcome(),
                    {"key": "", "status": "failed", "reason": done.error},
                )
        yield done


def unit_of(task: Task) -> Unit:
    """The unit that runs a task."""
    reads = cells.network_files(task.cell)
    files = {"reads": reads, "writes": (task.path,)}
    return Unit(task.name, replicate_task, (task,), **files, title=_title(task))


def _title(task: Task) -> str:
    """What people read: ``xnn.convolutional mnist/cnn-0``, with as much of the settings as a line holds."""
    network = [task.dataset, f"seed={task.seed}"]
    if task.target:
        network = [task.cell.title]
    settings = store.setting_text(task.settings)
    parts = [f"{task.paper}.{task.experiment}", *network, settings]
    text = " ".join(filter(None, parts))
    if len(text) > _LINE:
        return f"{text[: _LINE - 1]}…"
    return text


def replicate_task(task: Task) -> str | None:
    """Run a task, unless it is done; writes its outcome, or the reason why there is none."""
    key = replicate_key(task, experiment(task.paper, task.experiment))
    there = _meta(task)
    if there.get("key") == key and there["status"] != "failed":
        return engine.KEPT
    meta: dict[str, Any] = {"key": key, "status": "ok", "reason": ""}
    outcome = Outcome()
    try:
        outcome = perform(task)
    except NotApplicable as reason:
        meta |= {"status": "not applicable", "reason": " ".join(str(reason).split())}
    except Exception as error:
        meta |= {"status": "failed", "reason": engine.one_line(error)}
    _write(task, outcome, meta)
    if meta["status"] == "failed":
        raise engine.Failed(meta["reason"])
    return None


def perform(task: Task) -> Outcome:
    """Run the experiment of a unit.

    Raises:
        NotApplicable: it does not apply to this network. ValueError: what it returns is not a valid outcome.
    """
    cell = task.cell
    study = Study(
        seed=task.seed,
        device=engine.device(),
        dataset=task.dataset,
        data=load_dataset(cell) if task.dataset else None,
        target_name=task.target,
        target=load_target(cell) if task.target else None,
        build=_method,
    )
    name = task.paper, task.experiment, task.dataset, task.target, task.seed
    rng = generator("replicate", *name, json.dumps(task.settings, sort_keys=True))
    outcome = experiment(task.paper, task.experiment)(study, rng, **task.settings)
    _check(outcome)
    return outcome


def _method(entry: str | Mapping[str, Any]) -> Method:
    """A method that an experiment names; one from outside this project sees pixels only."""
    ref = MethodRef.parse(entry)
    method = ref.build()
    return method if ref.own else PixelsOnly(method)


def _check(outcome: Outcome) -> None:
    if not isinstance(outcome, Outcome):
        raise ValueError(
            f"an experiment returns an Outcome, not {type(outcome).__name__}"
        )
    for number in outcome.numbers:
        if not math.isfinite(number.value):
            setting = store.setting_text(number.setting)
            raise ValueError(f"{number.metric} ({setting}) is {number.value}")
        if number.better not in ("higher", "lower"):
            raise ValueError(
                f"{number.metric}: better is {number.better!r}, not 'higher' or 'lower'"
            )


# --------------------------------------------------------------------------------------------- collect


def collect(
    profile: Profile, board: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, str], dict[str, Found]]:
    """The findings of the papers' experiments, with a row for every claim that could be judged.

    Args:
        board: the rows of the shared metrics (``collect.profile_rows``), for claims about the board.

    Returns:
        rows of track ``replication``; the evidence of each claim in words, by claim; what ``figures.py`` draws, by
        paper.
    """
    frames, evidence, found = [], {}, {}
    for paper in profile.papers:
        frame, units = _findings(profile, paper)
        ok = [rows[rows.status == "ok"] for rows in (board, frame)]
        done = pd.concat(ok, ignore_index=True)
        claims, words = _verdicts(profile.name, paper, done)
        frames += [frame, claims]
        evidence |= words
        found[paper] = Found(done, units)
    frames = [frame for frame in frames if len(frame)] or [_frame([])]
    return store.tidy_rows(pd.concat(frames)), evidence, found


def judged(profile: Profile, rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows of a profile with its claims judged again, from these rows alone; and the evidence as of ``collect``."""
    numbers = rows[~_is_claim(rows)]
    done = numbers[numbers["status"] == "ok"]
    frames, evidence = [numbers], {}
    for paper in profile.papers:
        claims, words = _verdicts(profile.name, paper, done)
        if len(claims):
            frames.append(claims)
        evidence |= words
    return store.tidy_rows(pd.concat(frames)), evidence


def _is_claim(rows: pd.DataFrame) -> pd.Series:
    """Which rows are verdicts on claims: their metric is the id of one (``LT1``), or says that all failed."""
    named = rows["metric"].str.fullmatch(r"[A-Z]{2}\d+|verdicts")
    return (rows["track"] == "replication") & named


def _findings(profile: Profile, paper: str) -> tuple[pd.DataFrame, list[FoundUnit]]:
    """The rows of a paper's experiments, and the arrays of those that worked."""
    rows, units = [], []
    for task in tasks(profile, paper):
        new, arrays, status = rows_of(task)
        rows += new
        if status == "ok":
            network = task.dataset, task.target, task.seed
            units.append(FoundUnit(task.experiment, *network, task.settings, arrays))
    return _frame(rows), units


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(store.ROW_COLUMNS))


def rows_of(task: Task) -> tuple[list[dict[str, Any]], dict[str, np.ndarray], str]:
    """(rows, arrays, status) of a unit that was run."""
    base = {
        "profile": task.profile,
        "track": "replication",
        "paper": task.paper,
        "dataset": task.dataset,
        "target": task.target,
        "seed": task.seed,
        "metric_version": 1,
        "metric_setting": "",
    }
    numbers, arrays, meta = _read(task)
    if meta["status"] == "ok":
        rows = [base | {"reason": "", "status": "ok"} | number for number in numbers]
        return rows, arrays, "ok"
    row = base | {
        "method": "",
        "setting": store.setting_text(task.settings),
        "metric": task.experiment,
        "value": np.nan,
        "n": 0,
        "better": "higher",
        "unit": "",
        "status": meta["status"],
        "reason": meta["reason"],
    }
    return [row], {}, meta["status"]


# --------------------------------------------------------------------------------------------- verdicts


def _verdicts(
    profile: str, paper: str, rows: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Rows whose metric is a claim's id and whose value is the share of its checks that hold; and the evidence.

    Where a claim has undecided checks, rows of metric setting ``undecided`` give their share. Checks on networks that
    the paper does not have are apart, in rows of metric setting ``extension``.
    """
    module = papers.part(paper, "verdicts")
    if module is None:
        return _frame([]), {}
    try:
        checks = list(module.verdicts(rows))
    except Exception as error:
        row = _claim_row(profile, paper, "verdicts", "", "", 0)
        failed = {"value": np.nan, "status": "failed", "reason": engine.one_line(error)}
        return _frame([row | failed]), {}
    extensions = [check for check in checks if check.extension]
    own = [check for check in checks if not check.extension]
    undecided = {check.claim for check in own if check.holds is None}
    claims = []
    for key, holds in _by_network(own).items():
        n = len(holds)
        row = _claim_row(profile, paper, *key) | {"n": n}
        claims.append(row | {"value": holds.count(True) / n})
        if key[0] in undecided:
            share = {"metric_setting": "undecided", "value": holds.count(None) / n}
            claims.append(row | share)
    for key, holds in _by_network(extensions).items():
        row = _claim_row(profile, paper, *key) | {"metric_setting": "extension"}
        n = len(holds)
        claims.append(row | {"n": n, "value": holds.count(True) / n})
    evidence = _by_claim(own)
    for claim, words in _by_claim(extensions).items():
        before = evidence.get(claim)
        words = f"Extensions: {words}"
        evidence[claim] = words if before is None else f"{before} | {words}"
    return _frame(claims), evidence


Judged = dict[Any, list[bool | None]]


def _by_network(checks: Sequence[Check]) -> Judged:
    """What the checks say, by claim, data set, target and seed."""
    judged: Judged = {}
    for check in checks:
        key = (
            check.claim,
            check.dataset,
            check.target,
            check.seed,
        )
        holds = judged.setdefault(key, [])
        holds.append(_holds(check))
    return judged


def _by_claim(checks: Sequence[Check]) -> dict[str, str]:
    """The evidence of each claim, in words."""
    said: dict[str, Judged] = {}
    for check in checks:
        words = said.setdefault(check.claim, {})
        holds = words.setdefault(_evidence(check), [])
        holds.append(_holds(check))
    return {claim: _quoted(words) for claim, words in said.items()}


def _holds(check: Check) -> bool | None:
    return None if check.holds is None else bool(check.holds)


def _claim_row(
    profile: str, paper: str, claim: str, dataset: str, target: str, seed: int
) -> dict[str, Any]:
    """The row of a claim, without a value yet."""
    return {
        "profile": profile,
        "track": "replication",
        "paper": paper,
        "dataset": dataset,
        "target": target,
        "method": "",
        "setting": "",
        "metric": claim,
        "metric_setting": "",
        "seed": seed,
        "n": 0,
        "better": "higher",
        "unit": "share",
        "metric_version": 1,
        "status": "ok",
        "reason": "",
    }


def _evidence(check: Check) -> str:
    """What speaks for a check, after the network where it was found."""
    network = [part for part in (check.dataset, check.target) if part]
    return f"{'/'.join(network)}: {check.evidence}" if network else check.evidence


def _quoted(words: Mapping[str, list[bool | None]]) -> str:
    """The first few pieces of evidence, those against the claim first, then the undecided ones; each with how often
    it holds, if not always.
    """
    against = {False: 0.0, None: 0.5, True: 1.0}
    texts = sorted(words, key=lambda text: np.mean([against[h] for h in words[text]]))
    quoted = [_with_count(text, words[text]) for text in texts[:_EVIDENCE]]
    more = len(texts) - _EVIDENCE
    if more > 0:
        quoted.append(f"and {more} more")
    return " | ".join(quoted)


def _with_count(text: str, holds: list[bool | None]) -> str:
    n, held, undecided = len(holds), holds.count(True), holds.count(None)
    if held == n:
        return text
    if undecided == n:
        return f"{text} (undecided)"
    if not held + undecided:
        return f"{text} (does not hold)"
    words = f"holds in {held} of {n}"
    if undecided:
        words += f", undecided in {undecided}"
    return f"{text} ({words})"


# --------------------------------------------------------------------------------------------- files


def _write(task: Task, outcome: Outcome, meta: Mapping[str, Any]) -> None:
    numbers = [_plain(number) for number in outcome.numbers]
    entries = {
        "meta": np.array(json.dumps(dict(meta))),
        "numbers": np.array(json.dumps(numbers)),
    }
    for name, array in outcome.arrays.items():
        entries[f"array_{name}"] = array
    store.write_npz(task.path, entries)


def _plain(number: Number) -> dict[str, Any]:
    """A number as a part of its row."""
    plain = {
        "metric": number.metric,
        "value": float(number.value),
        "method": number.method,
        "setting": store.setting_text(number.setting),
        "n": int(number.n),
        "better": number.better,
        "unit": number.unit,
    }
    if number.dataset is not None:
        plain["dataset"] = number.dataset
    if number.target is not None:
        plain["target"] = number.target
    return plain


def _read(
    task: Task,
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray], dict[str, Any]]:
    """(numbers, arrays, meta); of a file that is missing or damaged, those of a failed unit."""
    try:
        entries = store.read_npz(task.path)
        numbers = json.loads(str(entries.pop("numbers")))
        meta = json.loads(str(entries.pop("meta")))
    except (store.StoreError, KeyError, ValueError) as error:
        return [], {}, {"key": "", "status": "failed", "reason": str(error)}
    arrays = {}
    for name, array in entries.items():
        arrays[name.removeprefix("array_")] = array
    return numbers, arrays, meta


def _meta(task: Task) -> dict[str, Any]:
    """The meta of a unit whose file exists, else {}."""
    return _read(task)[2] if task.path.exists() else {}
