"""Kits for studies with people: writes a paper's study as pages, answer sheets and a key, and scores the answers.

    made = write_kit(profile, "xnn", folder, target="toybirds/cnn")
    # form-1.html, form-1.csv, form-2.html, ..., key.json
    found = score_files([Path("anna.csv"), Path("ben.csv")])        # with the key beside them
    found.scores, found.missing

The page of a form holds task ids and no truth; ``key.json`` has it. An answer sheet has the columns person, task and
answer, for one person or for many, and for ClaDec's texts a column ``concepts`` for codes by hand.
"""

from __future__ import annotations

import csv
import inspect
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark import engine, papers, store
from benchmark.api import NotApplicable
from benchmark.leaderboard.render import study_page
from benchmark.papers import Study
from benchmark.papers.kits import Kit, Score, Stage, Task, numbered
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.inputs import load_dataset, load_target
from benchmark.pipeline.prerequisites import make_ready
from benchmark.pipeline.profile import Profile
from benchmark.utils.errors import UsageError
from benchmark.utils.near_names import near
from benchmark.utils.seeds import generator

COLUMNS = ("person", "task", "answer")
CODES = "concepts"  # a column that a sheet may have
KEY = "key.json"
NAMED = 4  # missing tasks that a line names


def studies() -> list[str]:
    """The papers that have a study with people."""
    return [name for name in papers.names() if papers.part(name, "study")]


# --------------------------------------------------------------------------------------------- the kit


def folder_of(profile: Profile, paper: str) -> Path:
    """Where a kit lies if nothing else is said; git leaves it out."""
    return store.ROOT / "results" / "studies" / profile.name / paper


def write_kit(
    profile: Profile,
    paper: str,
    folder: Path,
    *,
    target: str = "",
    forms: int | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write the kit of a paper's study: a page and an empty answer sheet for each form, and the key.

    Args:
        target: ``data set/network`` of the profile; default: that of the paper's experiment.
        forms: how many different ones; default: the study's own.
        seed: of the draw of images, orders and sides.
        settings: of the study, beyond those of the experiment in the profile.

    Raises:
        UsageError: a setting that does not fit, a network on which there is no such study, or a folder with another
            kit.
    """
    module = papers.part(paper, "study")
    (dataset, name, training), chosen = _network(profile, paper, module.LIKE, target)
    chosen |= _checked(module.kit, settings or {})
    if forms is not None:
        chosen["forms"] = forms
    cell = Cell(profile.name, dataset, name, training)
    _make_ready(profile, cell)
    study = Study(
        seed=training,
        device=engine.device(),
        dataset=dataset,
        data=load_dataset(cell),
        target_name=name,
        target=load_target(cell),
    )
    rng = generator("study", paper, dataset, name, training, seed)
    try:
        kit = module.kit(study, rng, **chosen)
    except (ValueError, NotApplicable) as error:
        raise UsageError(f"study {paper}: {error}") from None
    network = {"profile": profile.name, "dataset": dataset, "target": name}
    facts = {**network, "target_seed": training, "seed": seed, **kit.facts}
    return _write(folder, paper, kit, facts)


def _network(
    profile: Profile, paper: str, like: Mapping[str, Sequence[str]], target: str
) -> tuple[tuple[str, str, int], dict[str, Any]]:
    """(data set, target, seed), and the settings of the profile's experiment that the study shares.

    Args:
        like: experiments, the one that is liked best first, and their settings that are taken over.
        target: ``data set/network``; empty: that of the experiment.
    """
    found = []
    for experiment, shared in like.items():
        for entry in profile.replicate.get(paper, ()):
            if entry.experiment != experiment:
                continue
            chosen = {k: entry.settings[k] for k in shared if k in entry.settings}
            found += [(network, chosen) for network in profile.networks(entry)]
    if not target and not found:
        raise UsageError(
            f"profile {profile.name!r} runs no {' or '.join(like)} of {paper}: name a network with --target, "
            "or another --profile"
        )
    for network, chosen in found:
        if target in ("", "/".join(network[:2])):
            return network, dict(chosen)
    known = {}
    for dataset in profile.zoo:
        for name, seed, _ in profile.trainings(dataset):
            known.setdefault(f"{dataset}/{name}", (dataset, name, seed))
    if target not in known:
        raise near(target, known, f"network in profile {profile.name!r}:")
    return known[target], {}


def _checked(kit: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, if the study has them.

    Raises:
        UnknownName: it has not.
    """
    parameters = inspect.signature(kit).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    known.remove("forms")  # an option of its own
    for key in settings:
        if key not in known:
            raise near(key, known, "setting of the study:")
    return dict(settings)


def _make_ready(profile: Profile, cell: Cell) -> None:
    """Prepare the data set and train the one network, where they do not exist yet."""
    recipe = replace(profile.zoo[cell.dataset][cell.target], seeds=(cell.seed,))
    zoo = {cell.dataset: {cell.target: recipe}}
    one = profile.replace(zoo=zoo, datasets=(cell.dataset,), replicate={})
    make_ready(one, cell.dataset)


def _write(folder: Path, paper: str, kit: Kit, facts: Mapping[str, Any]) -> list[Path]:
    """The files of a kit; their paths. A sheet that is there may hold answers, and stays.

    Raises:
        UsageError: the folder holds another kit.
    """
    key: dict[str, Any] = {"study": paper, "facts": dict(facts), "tasks": {}}
    pages, sheets = {}, {}
    for f, stages in enumerate(kit.forms):
        tasks = numbered(f, stages)
        page = study_page.render(kit, stages, tasks, f + 1)
        pages[folder / f"form-{f + 1}.html"] = page
        sheets[folder / f"form-{f + 1}.csv"] = _sheet(
            [("", task, "") for task in tasks]
        )
        for name, (stage, task) in tasks.items():
            key["tasks"][name] = _entry(f + 1, stage, task)
    if (folder / KEY).exists() and store.read_json(folder / KEY) != key:
        raise UsageError(
            f"{folder} holds another kit, which may be in use; remove it, or name another folder with --out"
        )
    store.write_json(folder / KEY, key)
    empty = {path: text for path, text in sheets.items() if not path.exists()}
    for path, text in {**pages, **empty}.items():
        store.write_text(path, text)
    return [*pages, *sheets, folder / KEY]


def _entry(form: int, stage: Stage, task: Task) -> dict[str, Any]:
    """What the key says of a task."""
    return {
        "form": form,
        "stage": stage.name,
        "kind": task.kind,
        "choices": list(task.choices),
        "truth": dict(task.truth),
    }


def _sheet(rows: Sequence[Sequence[str]]) -> str:
    """An answer sheet as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, *rows])
    return text.getvalue()


# --------------------------------------------------------------------------------------------- the scores


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of a study, and the tasks that each person left open."""

    study: str
    scores: Sequence[Score]
    persons: int
    missing: Mapping[str, Sequence[str]]


def score_files(files: Sequence[Path], key: Path | None = None) -> Scored:
    """Score answer sheets, of one person or many each.

    Args:
        key: the kit's ``key.json``; default: the one beside the first sheet.

    Raises:
        UsageError: no answers, or a line with an unknown task, an answer that the task does not have, no person, or
            a task that the person has answered already. StoreError: a file that cannot be read.
    """
    path = key or files[0].parent / KEY
    if not path.exists():
        raise UsageError(f"{path} is missing; name the kit's {KEY} with --key")
    kit = _read_key(path)
    rows: list[dict[str, Any]] = []
    for file in files:
        rows += _answers(file, kit["tasks"])
    _refuse_twice(rows)
    answered = [row for row in rows if row["answer"] != ""]
    if not answered:
        raise UsageError(f"{', '.join(map(str, files))}: no task is answered")
    frame = _with_truth(answered, kit["tasks"])
    module = papers.part(kit["study"], "study")
    try:
        scores = list(module.score(frame, _reported(kit["study"])))
    except ValueError as error:
        raise UsageError(f"study {kit['study']}: {error}") from None
    persons = frame["person"].nunique()
    return Scored(kit["study"], scores, persons, _missing(frame, kit["tasks"]))


def _with_truth(
    rows: Sequence[Mapping[str, Any]], tasks: Mapping[str, Any]
) -> pd.DataFrame:
    """The answers, with a column for each part of the truth; None where a task has none."""
    frame = pd.DataFrame(rows)
    parts = {name for task in tasks.values() for name in task["truth"]}
    for name in sorted(parts):
        frame[name] = [tasks[task]["truth"].get(name) for task in frame["task"]]
    return frame


def _reported(paper: str) -> pd.DataFrame:
    """The paper's published numbers."""
    path = store.Paths("").reported / f"{paper}.csv"
    with store.reading(path):
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return frame.assign(value=pd.to_numeric(frame["value"], errors="coerce"))


def _read_key(path: Path) -> dict[str, Any]:
    """The key of a kit."""
    kit = store.read_json(path)
    if (
        not isinstance(kit, dict)
        or kit.get("study") not in studies()
        or "tasks" not in kit
    ):
        raise UsageError(f"{path} is not the {KEY} of a kit")
    return kit


def _answers(file: Path, tasks: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines of a sheet, checked."""
    if not file.exists():
        raise UsageError(f"{file} is missing")
    with store.reading(file, "save it as CSV with commas, in UTF-8"):
        text = file.read_text(encoding="utf-8-sig")
        lines = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows = [(lines.line_num, row) for row in lines]
    columns = lines.fieldnames or ()
    for column in COLUMNS:
        if column not in columns:
            raise UsageError(
                f"{file}: no column {column!r}; a sheet has {', '.join(COLUMNS)}, separated by commas"
            )
    return [_answer(f"{file} line {number}", row, tasks) for number, row in rows]


def _answer(
    where: str, row: Mapping[str, Any], tasks: Mapping[str, Any]
) -> dict[str, Any]:
    """One line of a sheet; an answer may be empty."""
    person, task, answer = ((row.get(column) or "").strip() for column in COLUMNS)
    if task not in tasks:
        raise UsageError(f"{where}: {near(task, tasks, 'task')}")
    if answer and not person:
        raise UsageError(f"{where}: {task} has an answer and no person")
    asked = tasks[task]
    return {
        "person": person,
        "task": task,
        "form": asked["form"],
        "stage": asked["stage"],
        "answer": _valid(where, task, asked, answer),
        CODES: (row.get(CODES) or "").strip(),
    }


def _valid(where: str, name: str, task: Mapping[str, Any], answer: str) -> str:
    """The answer as the task spells it."""
    if not answer:
        return ""
    if task["kind"] == "count" and not answer.isdecimal():
        raise UsageError(f"{where}: {answer!r} is no answer to {name}; a whole number")
    if task["kind"] != "choice":
        return answer
    spelt = {choice.casefold(): choice for choice in task["choices"]}
    if answer.casefold() not in spelt:
        choices = ", ".join(task["choices"])
        raise UsageError(
            f"{where}: {answer!r} is no answer to {name}; one of {choices}"
        )
    return spelt[answer.casefold()]


def _refuse_twice(rows: Sequence[Mapping[str, Any]]) -> None:
    """A person answers a task once, over all sheets."""
    seen = set()
    for row in rows:
        one = row["person"], row["task"]
        if row["answer"] and one in seen:
            raise UsageError(
                f"{row['person']} answers {row['task']} twice; keep one line"
            )
        if row["answer"]:
            seen.add(one)


def _missing(frame: pd.DataFrame, tasks: Mapping[str, Any]) -> dict[str, list[str]]:
    """The tasks that each person left open, in the forms that the person has begun."""
    found = {}
    for person, part in frame.groupby("person"):
        begun, done = set(part["form"]), set(part["task"])
        wanted = [name for name, task in tasks.items() if task["form"] in begun]
        left = [name for name in wanted if name not in done]
        if left:
            found[str(person)] = left
    return found


def notes(found: Scored) -> list[str]:
    """What is missing, a line for each person."""
    lines = []
    for person, left in found.missing.items():
        some = ", ".join(left[:NAMED]) + (", ..." if len(left) > NAMED else "")
        lines.append(
            f"{person}: {len(left)} answers are missing ({some}); scored as far as they go"
        )
    return lines


def as_rows(scores: Sequence[Score]) -> list[dict[str, str]]:
    """The scores as lines of a table."""
    rows = []
    for one in scores:
        interval = "" if math.isnan(one.low) else f"{one.low:.1f} to {one.high:.1f}"
        rows.append(
            {
                "measure": one.measure,
                "of": one.of,
                "value": f"{one.value:.1f}",
                "95 % interval": interval,
                "n": f"{one.n} {one.unit}",
                "published": one.published,
            }
        )
    return rows


def as_facts(found: Scored) -> dict[str, Any]:
    """All of it for JSON, where an interval that is not there is null."""
    scores = []
    for one in found.scores:
        fields = vars(one).items()
        scores.append({k: None if v != v else v for k, v in fields})
    return {
        "study": found.study,
        "persons": found.persons,
        "scores": scores,
        "missing": dict(found.missing),
    }
