"""A new method among the known ones: the pipeline's own cells, without DVC.

    found = evaluate(profile, ["/home/me/mine.py:GradNorm"])
    found.folder             # rows.csv, leaderboard.csv, differences.csv, index.html, plots/

The method is explained and scored on every network of a profile (data are prepared and networks trained where they are not
there yet), in a folder of its own: ``results/evaluations/<profile>/<name>/``. The known methods' rows are not made again.
They come, cell by cell, from the profile's own files of scores where those are up to date, else from the committed
``results/<profile>/rows.csv`` and ``values.npz`` (the values of single images, so that differences can be tested) where the
hashes of data, network, method and code are those of here. What fits neither is left out, with the reason; ``recompute``
makes it again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark import data, engine, leaderboard, store
from benchmark.jobs.committed_rows import _committed, _values_of
from benchmark.leaderboard import placing, tables
from benchmark.methods import describe
from benchmark.methods.registry import MethodRef
from benchmark.pipeline import cells, collect, explain, inputs, provenance, report, score
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.prerequisites import make_ready
from benchmark.pipeline.profile import Profile
from benchmark.utils.near_names import UnknownName


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` found."""

    folder: Path
    rows: pd.DataFrame  # of the new methods
    frame: pd.DataFrame  # the board: known methods and new ones
    compared: Mapping[
        str, pd.DataFrame
    ]  # for the label of each new method, ``placing.differences``
    left_out: Mapping[str, int]  # why known cells are not on the board, and how many
    means_only: int  # known cells of which only the means are known
    without: Mapping[str, int]  # metrics of which known cells have no rows, and how many


def evaluate_methods(
    profile: Profile | Mapping[str, Any],
    methods: Sequence[str | Mapping[str, Any]],
    *,
    name: str = "",
    targets: Sequence[str] = (),
    recompute: bool = False,
    page: bool = True,
) -> Evaluation:
    """Explain, score, place and write.

    Args:
        profile: or the mapping that a profile is parsed from. methods: as a profile names them; files relative to the working directory.
        name: of the folder (default: made of the first method's), and of maps on the board.
        targets: ``digits/cnn``, ``digits`` or ``cnn``; all networks of the profile if empty.
        recompute: explain and score the known methods again.
        page: also draw plots and gallery, and write the page.

    Raises:
        UnknownName: a method, setting or target that is not there, or a name that is taken on the board.
    """
    refs = [MethodRef.parse(entry, base=Path.cwd()) for entry in methods]
    refs = [
        replace(r, settings={**r.settings, "name": name}) if name and r.stem == "maps" else r
        for r in refs
    ]
    profile = Profile.of(profile).with_networks(targets)
    known = [
        cell
        for dataset in profile.datasets
        for cell in cells.cells(profile, dataset)
        if not cell.method.is_among(refs)
    ]
    _refuse_taken_names(refs, known)
    name = _folder(
        name or (Path(refs[0].settings["file"]).stem if refs[0].stem == "maps" else refs[0].cls)
    )
    mine = profile.with_methods(refs, keep=recompute).replace(
        evaluation=f"evaluations/{profile.name}/{name}"
    )
    with store.exclusive(cells.made(mine).results, "glassbench evaluate"):
        for dataset in profile.datasets:
            make_ready(profile, dataset)
            for step in (explain.explain_images, score.score_explanations):
                list(step(mine, dataset))
    rows, instances = collect.profile_rows(mine)
    old = (
        _Known({}, [], pd.DataFrame(), pd.DataFrame(), 0, {}, {})
        if recompute
        else _known(profile, known)
    )
    if old.files:
        more, values = collect.rows_of(old.files)
        rows, instances = pd.concat([rows, more]), pd.concat([instances, values], ignore_index=True)
    if len(old.values):
        instances = pd.concat([instances, old.values], ignore_index=True)
    board = store.tidy_rows(pd.concat([rows, old.means]) if len(old.means) else rows)
    folder = cells.made(mine).results
    new = board[board["method"].isin([describe.describe(ref)[0] for ref in refs])]
    store.write_rows(folder / "rows.csv", new)
    if page:
        frame = _write_page(folder, profile, mine, board, instances, old.drawn)
    else:
        frame = tables.leaderboard(board, instances)
        store.write_text(folder / "leaderboard.csv", tables.csv_text(frame))
    labels = dict.fromkeys(frame.loc[frame["method"].isin(set(new["method"])), "label"])
    compared = {label: placing.differences(frame, instances, label) for label in labels}
    if compared:
        every = pd.concat([found.assign(method=label) for label, found in compared.items()])
        store.write_text(
            folder / "differences.csv",
            every.to_csv(index=False, float_format="%.7g", lineterminator="\n"),
        )
    return Evaluation(folder, new, frame, compared, old.left_out, old.means_only, old.without)


# --------------------------------------------------------------------------------------------- what there is to do


def _refuse_taken_names(refs: Sequence[MethodRef], known: Sequence[Cell]) -> None:
    taken = {
        (name, setting): ref.file
        for ref in {c.method.slug: c.method for c in known}.values()
        for name, _, setting in [describe.describe(ref)]
    }
    for ref in refs:
        name, _, setting = describe.describe(ref)
        if (name, setting) in taken:
            raise UnknownName(
                f"{name!r} is on the board already ({taken[name, setting]}); give {ref.path.name}:{ref.cls} another name"
            )


def _folder(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "method"


# --------------------------------------------------------------------------------------------- the known methods


@dataclass(frozen=True)
class _Known:
    """What is known of the known methods without explaining again."""

    drawn: Mapping[str, MethodRef]  # by slug, those of whose explanations all are here
    files: list[Path]  # of scores with the values per image
    means: pd.DataFrame  # rows of other cells
    values: pd.DataFrame  # per image, of those
    means_only: int  # how many of them have none
    left_out: Mapping[str, int]  # why cells are not known, and how many
    without: Mapping[str, int]  # metrics of which known cells have no rows, and how many


def _known(profile: Profile, todo: Sequence[Cell]) -> _Known:
    """From the profile's own files where they are up to date, else from its rows where the hashes are those of here."""
    here = [cell for cell in todo if explain.is_explained(cell)]
    lacking = [cell for cell in here if not score.is_scored(cell)]
    _score(profile, lacking)
    scored = [cell for cell in here if cell not in lacking or score.is_scored(cell)]
    rest = [cell for cell in todo if cell not in scored]
    elsewhere = {cell.method.slug for cell in todo if cell not in here}
    drawn = {cell.method.slug: cell.method for cell in here if cell.method.slug not in elsewhere}
    means, left_out, without = (
        _committed(profile, rest) if rest else (pd.DataFrame(), Counter(), Counter())
    )
    values = _values_of(profile, means) if len(means) else pd.DataFrame()
    means_only = 0 if len(values) else len(rest) - sum(left_out.values())
    return _Known(
        drawn, [cell.scores for cell in scored], means, values, means_only, left_out, without
    )


def _score(profile: Profile, lacking: Sequence[Cell]) -> None:
    """Compute the scores that explanations lack: those of a metric that is new or has changed."""
    for dataset in dict.fromkeys(cell.dataset for cell in lacking):
        units = [score.score_unit(cell) for cell in lacking if cell.dataset == dataset]
        with store.exclusive(store.Paths(profile.name).scores(dataset), wait=True):
            list(engine.run(units, label="score"))


# --------------------------------------------------------------------------------------------- what is written


def _write_page(
    folder: Path,
    profile: Profile,
    mine: Profile,
    board: pd.DataFrame,
    instances: pd.DataFrame,
    drawn: Mapping[str, MethodRef],
) -> pd.DataFrame:
    """Board, plots, gallery and page into ``folder``; returns the board."""
    gallery = report.gallery(mine)
    others = report.gallery(profile.with_methods(list(drawn.values()))) if drawn else {}
    for key, entry in gallery.items():
        entry["maps"] = {**others.get(key, {"maps": {}})["maps"], **entry["maps"]}
    paths = store.Paths(profile.name)
    facts = provenance.provenance(mine)
    store.write_json(folder / "provenance.json", facts)
    return leaderboard.build(
        board,
        instances,
        gallery=gallery,
        data_cards={name: data.load_card(paths.data(name)) for name in profile.datasets},
        target_cards=report.target_cards(profile),
        provenance=facts,
        reported=paths.reported,
        out=folder,
    )


def write_images(profile: Profile, file: Path) -> list[str]:
    """The images that the profile explains, for maps that are made elsewhere: for each data set ``<name>/x`` (n, c, h, w)
    float32 in [0, 1], ``<name>/y`` and ``<name>/ids`` (n,). Returns the names that ``maps.npz`` is to have."""
    arrays, names = {}, []
    for dataset in profile.datasets:
        make_ready(profile, dataset)
        wanted = profile.explained(dataset)
        for name, seed, _ in profile.trainings(dataset):
            cell = Cell(profile.name, dataset, name, seed, None, wanted.images, wanted.reference)
            batch = inputs.load_batch(cell)
            names.append(inputs.load_target(cell).name)
            for key in ("x", "y", "ids"):
                arrays[f"{dataset}/{key}"] = getattr(batch, key).cpu().numpy()
    store.write_npz(file, arrays)
    return names


def notes(found: Evaluation) -> list[str]:
    """What a reader of the board should know, a line each."""
    lines = [
        f"{count} known cells are not on the board: {why}" for why, count in found.left_out.items()
    ]
    lines += [
        f"{count} known cells have no rows of {name}: it is new, or has changed since the committed rows"
        for name, count in found.without.items()
    ]
    if found.left_out or found.without:
        lines.append("`--recompute` makes them here; so does `make leaderboard`, for good")
    if found.means_only:
        lines.append(
            f"of {found.means_only} known cells only the means are here: they have ranks and intervals, and no tests"
        )
    return lines
