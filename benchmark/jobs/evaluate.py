"""Evaluates a new method and places it among the known ones, by the cells of the pipeline, without DVC.

    found = evaluate_methods(profile, ["/home/me/mine.py:GradNorm"])
    found.folder             # rows.csv, leaderboard.csv, differences.csv, index.html, plots/

The method is run and scored on every network of a profile (missing data are prepared and missing networks trained), in
a folder of its own: ``results/evaluations/<profile>/<name>/``. The known methods are not recomputed. Their rows come,
cell by cell, from the profile's own score files if those are up to date, else from the committed
``results/<profile>/rows.csv`` and ``values.npz`` (the values per image, which tests of differences need) if the hashes
of data, network, method and code are those of today. Other cells are left out, with the reason; ``recompute`` computes
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark import engine, store
from benchmark.jobs.committed_rows import Committed, committed_rows, values_per_image
from benchmark.leaderboard import placing, tables
from benchmark.leaderboard.board import Board
from benchmark.methods import describe
from benchmark.methods.metric_refs import MetricRef, declared, refuse_taken_names
from benchmark.methods.registry import MethodRef, remark
from benchmark.pipeline import (
    again,
    cells,
    collect,
    explain,
    inputs,
    own_scores,
    provenance,
    score,
    words,
)
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.prerequisites import make_ready
from benchmark.pipeline.profile import Profile
from benchmark.store import code_hash
from benchmark.utils.near_names import UnknownName


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate_methods`` found.

    Attributes:
        rows: of the new methods, and of all methods by the metrics of the user.
        frame, placed: the board, with the known and the new methods, and its ``places``.
        compared: ``placing.differences`` of each new method, by its label.
        left_out: the reasons why known cells are not on the board, and how many cells.
        means_only: known cells without values per image.
        without: metrics that known cells have no rows of, and how many cells.
        remarks: what to know about methods of other libraries, by their name.
    """

    folder: Path
    rows: pd.DataFrame
    frame: pd.DataFrame
    placed: pd.DataFrame
    compared: Mapping[str, pd.DataFrame]
    left_out: Mapping[str, int]
    means_only: int
    without: Mapping[str, int]
    remarks: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[str] = ()  # the names of those of the user
    page: bool = True  # was it written?

    @property
    def first_file(self) -> str:
        """What to open first."""
        return "index.html" if self.page else "rows.csv"

    @property
    def files(self) -> dict[str, str]:
        """The paths of what was written."""
        names = ["rows.csv", "leaderboard.csv", "provenance.json"]
        if self.compared:
            names.append("differences.csv")
        if self.page:
            names.append("index.html")
        return {name: str(self.folder / name) for name in names}


def evaluate_methods(
    profile: Profile | Mapping[str, Any],
    methods: Sequence[str | Mapping[str, Any]] = (),
    *,
    metrics: Sequence[str | Mapping[str, Any]] = (),
    name: str = "",
    targets: Sequence[str] = (),
    recompute: bool = False,
    page: bool = True,
) -> Evaluation:
    """Explain, score, place and write.

    Args:
        profile: or the mapping that a profile is parsed from.
        methods: as a profile names them; files relative to the working directory.
        metrics: of the user, named in the same way; the known methods are scored by them too, from their explanations,
            which are computed where they are missing.
        name: of the folder (default: from the first method or metric), and of maps on the board.
        targets: ``digits/cnn``, ``digits`` or ``cnn``; all networks of the profile if empty.
        recompute: explain and score the known methods, too.
        page: also draw plots and gallery, and write the page.

    Raises:
        UnknownName: an unknown method, metric, setting or target, or a name that is taken on the board.
    """
    if not (methods or metrics):
        raise UnknownName("nothing to evaluate: name a method or a metric")
    measures = [MetricRef.parse(entry, base=Path.cwd()) for entry in metrics]
    refuse_taken_names(measures)
    refs = [_named(MethodRef.parse(entry, base=Path.cwd()), name) for entry in methods]
    profile = Profile.of(profile).with_networks(targets)
    known = _known_cells(profile, refs)
    _refuse_taken_names(refs, known)
    first = _default_name(refs[0]) if refs else measures[0].function
    place = f"evaluations/{profile.name}/{_folder(name or first)}"
    mine = profile.with_methods(refs, keep=recompute).with_metrics(measures)
    mine = mine.replace(evaluation=place)
    folder = cells.made(mine).results
    if recompute:
        known = []  # they are among the cells of ``mine``
    with store.exclusive(folder, "glassbench evaluate"):
        for dataset in profile.datasets:
            make_ready(profile, dataset)
        list(explain.explain_images(mine, *profile.datasets))
        # A board of metrics alone has no rows by those of the project.
        old = _known(profile, known) if known and refs else _Known()
        for dataset in profile.datasets if measures else ():
            others = [cell for cell in known if cell.dataset == dataset]
            _explain(profile, dataset, others)
        code_hash.keep()  # workers need not hash the code themselves
        with ThreadPoolExecutor(1) as aside:  # while workers score
            reading = aside.submit(collect.rows_of, old.files)
            if page:
                aside.submit(import_module, "benchmark.jobs.evaluation_page")
            list(own_scores.score_all(mine, *profile.datasets, others=known))
    rows, instances = _combined(mine, old, *reading.result())
    names = [describe.describe(ref)[0] for ref in refs]
    by_user = [declared(ref).spec.name for ref in measures]
    new = rows[rows["method"].isin(names) | rows["metric"].isin(by_user)]
    store.write_rows(folder / "rows.csv", new)
    facts = provenance.provenance(mine)
    store.write_json(folder / "provenance.json", facts)
    board = Board.of(rows, instances, words.families())
    compared = {}
    for label in _labels(board.frame, names):
        compared[label] = placing.differences(board.contests, label)
    if page:
        from benchmark.jobs.evaluation_page import write_page

        shown = {"drawn": old.drawn, "committed": old.is_committed}
        write_page(folder, profile, mine, rows, board, compared, facts, **shown)
    else:
        text = tables.csv_text(board.frame)
        store.write_text(folder / "leaderboard.csv", text)
    if compared:
        parts = [lines.assign(method=label) for label, lines in compared.items()]
        every = pd.concat(parts)
        text = every.to_csv(index=False, float_format="%.7g", lineterminator="\n")
        store.write_text(folder / "differences.csv", text)
    remarks = {name: remark(ref) for name, ref in zip(names, refs, strict=True)}
    return Evaluation(
        folder,
        new,
        board.frame,
        board.placed,
        compared,
        old.left_out,
        old.means_only,
        old.without,
        {name: text for name, text in remarks.items() if text},
        by_user,
        page,
    )


def _explain(profile: Profile, dataset: str, known: Sequence[Cell]) -> None:
    """Explain the known cells that are not explained yet; their files are those of the profile."""
    folder = store.Paths(profile.name).explanations(dataset)
    if all(explain.is_explained(cell) for cell in known):
        return
    with store.exclusive(folder, wait=True):
        list(explain.explain_cells(profile, dataset, known))


def _labels(frame: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """What the board calls these methods, in their order."""
    found = []
    for name in dict.fromkeys(names):
        found += frame.loc[frame["method"] == name, "label"].unique().tolist()
    return found


def _combined(
    mine: Profile, old: _Known, known: pd.DataFrame, values: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows, and values per image, of the new and the known methods.

    Args:
        known, values: those of the files of ``old``.
    """
    rows, instances = collect.profile_rows(mine)
    if len(known):
        rows = pd.concat([rows, known])
        instances = pd.concat([instances, values], ignore_index=True)
    if len(old.values):
        instances = pd.concat([instances, old.values], ignore_index=True)
    if len(old.means):
        rows = pd.concat([rows, old.means])
    return store.tidy_rows(rows), instances


# --------------------------------------------------------------------------------------------- what is evaluated


def _named(ref: MethodRef, name: str) -> MethodRef:
    """``name`` is the name of maps; other methods have one of their own."""
    if name and ref.stem == "maps":
        return replace(ref, settings={**ref.settings, "name": name})
    return ref


def _default_name(ref: MethodRef) -> str:
    return Path(ref.settings["file"]).stem if ref.stem == "maps" else ref.cls


def _known_cells(profile: Profile, refs: Sequence[MethodRef]) -> list[Cell]:
    known = []
    for dataset in profile.datasets:
        for cell in cells.cells(profile, dataset):
            if not cell.method.is_among(refs):
                known.append(cell)
    return known


def _refuse_taken_names(refs: Sequence[MethodRef], known: Sequence[Cell]) -> None:
    taken = {}
    for ref in {cell.method.slug: cell.method for cell in known}.values():
        name, _, setting = describe.describe(ref)
        taken[name, setting] = ref.file
    for ref in refs:
        name, _, setting = describe.describe(ref)
        if (name, setting) in taken:
            raise UnknownName(
                f"{name!r} is on the board already ({taken[name, setting]}); "
                f"give {ref.path.name}:{ref.cls} another name"
            )


def _folder(text: str) -> str:
    """A name for a folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "method"


# --------------------------------------------------------------------------------------------- the known methods


@dataclass(frozen=True)
class _Known:
    """The results of the known methods that can be had without explaining again.

    Attributes:
        drawn: the slugs of methods whose explanations are all here.
        files: score files, which have the values per image.
        means: committed rows of other cells.
        values: values per image behind ``means``.
        means_only: cells of ``means`` without such values.
        left_out, without: as in ``Evaluation``.
    """

    drawn: Set[str] = frozenset()
    files: Sequence[Path] = ()
    means: pd.DataFrame = field(default_factory=pd.DataFrame)
    values: pd.DataFrame = field(default_factory=pd.DataFrame)
    means_only: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    without: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_committed(self) -> bool:
        """Are the committed rows of all cells without score files on the board?"""
        return len(self.means) > 0 and not self.left_out


def _known(profile: Profile, wanted: Sequence[Cell]) -> _Known:
    """From the profile's own files if they are up to date, else from the committed rows that still hold."""
    explained = [cell for cell in wanted if explain.is_explained(cell)]
    unscored = [cell for cell in explained if not _is_scored(cell)]
    lacking = [cell for cell in unscored if store.is_whole(cell.explanation)]
    here = [cell for cell in explained if cell in lacking or cell not in unscored]
    _score(profile, lacking)
    scored = [cell for cell in here if cell not in lacking or _is_scored(cell)]
    rest = [cell for cell in wanted if cell not in scored]
    elsewhere = {cell.method.slug for cell in wanted if cell not in here}
    drawn = {cell.method.slug for cell in here} - elsewhere
    found = committed_rows(profile, rest) if rest else Committed()
    values = (
        values_per_image(profile, found.rows) if len(found.rows) else pd.DataFrame()
    )
    means_only = 0 if len(values) else len(rest) - sum(found.left_out.values())
    return _Known(
        drawn,
        [file for cell in scored for file in score.files(cell)],
        found.rows,
        values,
        means_only,
        found.left_out,
        found.without,
    )


def _is_scored(cell: Cell) -> bool:
    return score.is_scored(cell) and (not cell.again or again.is_scored_again(cell))


def _score(profile: Profile, lacking: Sequence[Cell]) -> None:
    """Compute the scores that are missing, e.g. those of a metric that is new or has changed."""
    units: dict[str, list[engine.Unit]] = {}
    for cell in lacking:
        of_cell = [score.score_unit(cell)]
        if cell.again and cell.method.own:
            of_cell.append(again.again_unit(cell))
        units.setdefault(cell.dataset, []).extend(of_cell)
    paths = store.Paths(profile.name)
    for dataset, of_dataset in units.items():
        with store.exclusive(paths.scores(dataset), wait=True):
            list(engine.run(of_dataset, label="score"))


# --------------------------------------------------------------------------------------------- what is written


def write_images(profile: Profile, file: Path) -> list[str]:
    """Write the images that the profile explains, for maps that are computed elsewhere.

    The file holds for each data set ``<name>/x`` (n, c, h, w) float32 in [0, 1] and ``<name>/ids`` (n,); for a network
    that is explained on others (``only`` of the profile) ``<name>/<network>/x`` and ``.../ids``.

    Returns:
        The names that the arrays of ``maps.npz`` should have.
    """
    arrays = {}
    names = []
    for dataset in profile.datasets:
        make_ready(profile, dataset)
        of_all = profile.explained(dataset).images
        for name, seed, _ in profile.trainings(dataset):
            wanted = profile.explained(dataset, name)
            where = dataset if wanted.images == of_all else f"{dataset}/{name}"
            cell = Cell(
                profile.name, dataset, name, seed, None, wanted.images, wanted.reference
            )
            batch = inputs.load_batch(cell)
            names.append(inputs.load_target(cell).name)
            for key in ("x", "ids"):
                arrays[f"{where}/{key}"] = getattr(batch, key).cpu().numpy()
    store.write_npz(file, arrays)
    return names


def notes(found: Evaluation) -> list[str]:
    """What a reader of the board should know, a line each."""
    lines = [f"{name}: {text}" for name, text in found.remarks.items()]
    for why, count in found.left_out.items():
        lines.append(f"{count} known cells are not on the board: {why}")
    for name, count in found.without.items():
        changed = "it is new, or has changed since the committed rows"
        lines.append(f"{count} known cells have no rows of {name}: {changed}")
    if found.left_out or found.without:
        lines.append(
            "`--recompute` computes them for this evaluation, `make leaderboard` for the profile"
        )
    if found.means_only:
        lines.append(
            f"{found.means_only} known cells have no values per image here: "
            "they have ranks and intervals, but no tests"
        )
    return lines
