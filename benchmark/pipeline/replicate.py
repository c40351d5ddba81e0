"""Runs the papers' own experiments and makes rows of what they find.

One unit is an experiment on one network and seed (``Task``): a file with a key, like a cell of ``run.py``. A unit that fails
is a file and a row that say why. ``collect`` adds the verdicts: every claim that a paper's ``verdicts`` can judge.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark import engine, papers, store
from benchmark.api import NotApplicable
from benchmark.engine import Done, Unit
from benchmark.methods.registry import MethodRef
from benchmark.papers import Found, FoundUnit, Outcome, Study
from benchmark.pipeline import cells, unit_times
from benchmark.pipeline.cells import Cell, remove_others
from benchmark.pipeline.inputs import load_dataset, load_target
from benchmark.pipeline.keys import replicate_key
from benchmark.pipeline.profile import Profile
from benchmark.pipeline.settings import experiment
from benchmark.store.hashes import key_of
from benchmark.utils.seeds import generator

_EVIDENCE = 4  # pieces of evidence that are quoted for a claim


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
        parts = [self.experiment, self.dataset, self.target, str(self.seed)]
        short = key_of(self.settings)[:8]
        name = "-".join(
            [*(re.sub(r"[^\w.]+", "_", part) for part in parts if part), short]
        )
        return self.cell.paths.replications(self.paper) / f"{name}.npz"

    @property
    def name(self) -> str:
        return " ".join(
            filter(
                None,
                [
                    f"{self.paper}.{self.experiment}",
                    self.dataset,
                    self.target,
                    f"seed={self.seed}",
                    store.setting_text(self.settings),
                ],
            )
        )


# --------------------------------------------------------------------------------------------- what there is to do


def tasks(profile: Profile, paper: str) -> list[Task]:
    """Every unit of a paper that the profile asks for."""
    return [
        Task(profile.name, paper, entry.experiment, dataset, target, seed, settings)
        for entry in profile.replicate.get(paper, ())
        for dataset, target, seed in profile.networks(entry)
        for settings in entry.swept()
    ]


# --------------------------------------------------------------------------------------------- run


def replicate_paper(profile: Profile, paper: str) -> Iterator[Done]:
    """Run a paper's units that are not done yet, side by side."""
    todo = tasks(profile, paper)
    remove_others(
        store.Paths(profile.name).replications(paper), {task.path for task in todo}
    )
    for done in unit_times.run(
        store.Paths(profile.name), "replicate", paper, [unit_of(task) for task in todo]
    ):
        task = done.unit.arguments[0]
        if (
            done.error and _meta(task).get("reason") != done.error
        ):  # its worker died, or the disk is full
            with contextlib.suppress(OSError):
                _write(
                    task,
                    Outcome(),
                    {"key": "", "status": "failed", "reason": done.error},
                )
        yield done


def unit_of(task: Task) -> Unit:
    return Unit(
        task.name,
        replicate_task,
        (task,),
        reads=cells.network_files(task.cell),
        writes=(task.path,),
    )


def replicate_task(task: Task) -> str | None:
    """One unit; writes what it found, or the reason why it found nothing."""
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
        NotApplicable: it does not apply to this network. ValueError: what it returns is no outcome.
    """
    cell = task.cell
    study = Study(
        seed=task.seed,
        device=engine.device(),
        dataset=task.dataset,
        data=load_dataset(cell) if task.dataset else None,
        target_name=task.target,
        target=load_target(cell) if task.target else None,
        build=lambda entry: MethodRef.parse(entry).build(),
    )
    name = task.paper, task.experiment, task.dataset, task.target, task.seed
    rng = generator("replicate", *name, json.dumps(task.settings, sort_keys=True))
    outcome = experiment(task.paper, task.experiment)(study, rng, **task.settings)
    _check(outcome)
    return outcome


def _check(outcome: Outcome) -> None:
    if not isinstance(outcome, Outcome):
        raise ValueError(
            f"an experiment returns an Outcome, not {type(outcome).__name__}"
        )
    for number in outcome.numbers:
        if not math.isfinite(number.value):
            raise ValueError(
                f"{number.metric} ({store.setting_text(number.setting)}) is {number.value}"
            )
        if number.better not in ("higher", "lower"):
            raise ValueError(
                f"{number.metric}: better is {number.better!r}, not 'higher' or 'lower'"
            )


# --------------------------------------------------------------------------------------------- collect


def collect(
    profile: Profile, board: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, str], dict[str, Found]]:
    """(rows, evidence, found): what the papers' experiments found, with a row for every claim that could be judged.

    Args:
        board: the rows of the shared metrics (``run.collect``), for claims about the board.

    Returns:
        rows of track ``replication``; the evidence of each claim in words, by claim; what ``figures.py`` draws, by paper.
    """
    frames, evidence, found = [pd.DataFrame(columns=list(store.ROW_COLUMNS))], {}, {}
    for paper in profile.papers:
        rows, units = [], []
        for task in tasks(profile, paper):
            new, arrays, status = rows_of(task)
            rows += new
            if status == "ok":
                units.append(
                    FoundUnit(
                        task.experiment,
                        task.dataset,
                        task.target,
                        task.seed,
                        task.settings,
                        arrays,
                    )
                )
        frame = pd.DataFrame(rows, columns=list(store.ROW_COLUMNS))
        done = pd.concat(
            [board[board.status == "ok"], frame[frame.status == "ok"]],
            ignore_index=True,
        )
        claims, words = _verdicts(profile.name, paper, done)
        frames += [frame, claims]
        evidence |= words
        found[paper] = Found(done, units)
    return (
        store.tidy_rows(pd.concat([f for f in frames if len(f)] or frames)),
        evidence,
        found,
    )


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
    if meta["status"] != "ok":
        return (
            [
                base
                | {
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
            ],
            {},
            meta["status"],
        )
    return (
        [base | {"reason": "", "status": "ok"} | number for number in numbers],
        arrays,
        "ok",
    )


def _verdicts(
    profile: str, paper: str, rows: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Rows whose metric is a claim's id and whose value is the share of its checks that hold; and the evidence."""
    module = papers.part(paper, "verdicts")
    base = {
        "profile": profile,
        "track": "replication",
        "paper": paper,
        "method": "",
        "setting": "",
        "n": 0,
        "unit": "share",
        "better": "higher",
        "metric_version": 1,
        "metric_setting": "",
    }
    if module is None:
        return pd.DataFrame(columns=list(store.ROW_COLUMNS)), {}
    try:
        checks = list(module.verdicts(rows))
    except Exception as error:
        lost = {
            "dataset": "",
            "target": "",
            "metric": "verdicts",
            "seed": 0,
            "value": np.nan,
            "status": "failed",
            "reason": engine.one_line(error),
        }
        return pd.DataFrame([base | lost], columns=list(store.ROW_COLUMNS)), {}
    judged: dict[tuple[str, str, str, int], list[bool]] = {}
    said: dict[str, dict[str, list[bool]]] = {}
    for check in checks:
        judged.setdefault(
            (check.claim, check.dataset, check.target, check.seed), []
        ).append(bool(check.holds))
        where = "/".join(filter(None, [check.dataset, check.target]))
        words = f"{where}: {check.evidence}" if where else check.evidence
        said.setdefault(check.claim, {}).setdefault(words, []).append(bool(check.holds))
    rows_out = [
        base
        | {
            "metric": claim,
            "dataset": dataset,
            "target": target,
            "seed": seed,
            "value": float(np.mean(holds)),
            "n": len(holds),
            "status": "ok",
            "reason": "",
        }
        for (claim, dataset, target, seed), holds in judged.items()
    ]
    return pd.DataFrame(rows_out, columns=list(store.ROW_COLUMNS)), {
        claim: _quoted(words) for claim, words in said.items()
    }


def _quoted(words: Mapping[str, list[bool]]) -> str:
    """The first few pieces of evidence, each with how often it holds where it does not always; those against the claim first."""
    said = [
        (
            np.mean(holds),
            text
            if all(holds)
            else f"{text} (holds in {sum(holds)} of {len(holds)})"
            if any(holds)
            else f"{text} (does not hold)",
        )
        for text, holds in words.items()
    ]
    said.sort(key=lambda pair: pair[0])
    more = f" | and {len(said) - _EVIDENCE} more" if len(said) > _EVIDENCE else ""
    return " | ".join(text for _, text in said[:_EVIDENCE]) + more


# --------------------------------------------------------------------------------------------- files


def _write(task: Task, outcome: Outcome, meta: Mapping[str, Any]) -> None:
    numbers = [
        {
            "metric": n.metric,
            "value": float(n.value),
            "method": n.method,
            "setting": store.setting_text(n.setting),
            "n": int(n.n),
            "better": n.better,
            "unit": n.unit,
        }
        | {
            key: value
            for key in ("dataset", "target")
            if (value := getattr(n, key)) is not None
        }
        for n in outcome.numbers
    ]
    text = {
        "meta": np.array(json.dumps(dict(meta))),
        "numbers": np.array(json.dumps(numbers)),
    }
    store.write_npz(
        task.path, {f"array_{k}": v for k, v in outcome.arrays.items()} | text
    )


def _read(
    task: Task,
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray], dict[str, Any]]:
    try:
        arrays = store.read_npz(task.path)
        numbers, meta = (
            json.loads(str(arrays.pop("numbers"))),
            json.loads(str(arrays.pop("meta"))),
        )
        return (
            numbers,
            {key.removeprefix("array_"): value for key, value in arrays.items()},
            meta,
        )
    except (store.StoreError, KeyError, ValueError) as error:
        return [], {}, {"key": "", "status": "failed", "reason": str(error)}


def _meta(task: Task) -> dict[str, Any]:
    """The meta of a unit that is there and whole, else {}."""
    return _read(task)[2] if task.path.exists() else {}
