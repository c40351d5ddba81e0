"""The last step: writes a profile's folder in ``results/``: rows, board, reproduction, plots, page, provenance."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark import data, engine, papers, store
from benchmark.leaderboard.board import Board
from benchmark.leaderboard.build import build
from benchmark.pipeline import cells, collect, inputs, replicate
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.profile import Profile
from benchmark.pipeline.provenance import kept, provenance
from benchmark.pipeline.words import families, glossary
from benchmark.utils import plot_style

GALLERY_IMAGES = 6


def write(profile: Profile) -> Path:
    """Collect all cells of the profile and write its results; returns their folder."""
    paths = store.Paths(profile.name)
    rows, instances = collect.profile_rows(profile)
    replicated, evidence, found = replicate.collect(profile, rows)
    store.write_rows(
        paths.rows, pd.concat([rows, replicated]) if len(replicated) else rows
    )
    store.write_values(paths.values, instances)
    facts = kept(paths, provenance(profile))
    networks = target_cards(profile)
    written = store.read_rows(paths.rows)  # as a reader of the file sees them
    build(
        written,
        Board.of(written, instances, families()),
        gallery=gallery(shown(profile)),
        data_cards={
            name: data.load_card(paths.data(name)) for name in profile.datasets
        },
        target_cards=networks,
        provenance=facts,
        evidence=evidence,
        papers=chapters(found),
        reported=paths.reported,
        out=paths.results,
        glossary=glossary(),
        apply=side_by_side,
    )
    write_networks(paths.networks, networks)
    store.write_json(paths.results / "provenance.json", facts)
    return paths.results


def shown(profile: Profile, methods: Collection[str] | None = None) -> list[Cell]:
    """The cells that a gallery shows: those of each network's first seed with heat maps.

    Args:
        methods: only those whose ``slug`` is among them; the others need no explanations here.
    """
    found = []
    for dataset in profile.datasets:
        for cell in _first_seeds(cells.cells(profile, dataset)):
            if methods is not None and cell.method.slug not in methods:
                continue
            meta = cells.read_meta(cell.explanation)
            if meta["status"] == "ok" and "heatmaps" in meta["offers"]:
                found.append(cell)
    return found


def gallery(
    todo: Sequence[Cell], images: int = GALLERY_IMAGES
) -> dict[tuple[str, str], dict[str, Any]]:
    """For each (data set, target) of the cells: the same few images with the heat maps of every method, NaN where it
    has none; they are read in parallel."""
    networks: dict[tuple[str, str], list[Cell]] = {}
    for cell in todo:
        networks.setdefault((cell.dataset, cell.target), []).append(cell)
    jobs = []
    for (dataset, target), of_network in networks.items():
        jobs.append((f"maps of {dataset}/{target}", of_network, images))
    return dict(zip(networks, side_by_side(_entry, jobs), strict=True))


def _entry(job: tuple[str, Sequence[Cell], int]) -> dict[str, Any]:
    """The part of a gallery that shows one network."""
    _, todo, images = job
    found = _images(todo[0], images)
    for cell in todo:
        heatmaps, applies = cells.read_heatmaps(cell.explanation)
        maps = heatmaps[found["rows"]]
        if applies is not None:
            maps[~applies[found["rows"]]] = np.nan
        found["maps"][_label(cells.read_meta(cell.explanation))] = maps
    return found


def _first_seeds(todo: Sequence[Cell]) -> list[Cell]:
    """The cells of each target's first seed."""
    first: dict[str, int] = {}
    for cell in todo:
        first.setdefault(cell.target, cell.seed)
    return [cell for cell in todo if cell.seed == first[cell.target]]


def _images(cell: Cell, n: int) -> dict[str, Any]:
    """Images of n different classes, if there are as many, with the classes that the network predicts."""
    batch, target = inputs.load_batch(cell), inputs.load_target(cell)
    y = batch.y.cpu().numpy()
    _, first_of_class = np.unique(y, return_index=True)
    others = np.setdiff1d(np.arange(len(y)), first_of_class)
    rows = np.concatenate([np.sort(first_of_class), others])[:n]
    predicted = target(batch).argmax(1).cpu().numpy()
    pixels = batch.x.cpu().numpy()[rows]
    return {
        "images": (pixels * 255).round().astype(np.uint8),
        "ids": batch.ids.cpu().numpy()[rows].tolist(),
        "true": [target.classes[c] for c in y[rows]],
        "predicted": [target.classes[c] for c in predicted[rows]],
        "boxes": None if batch.boxes is None else batch.boxes.cpu().numpy()[rows],
        "maps": {},
        "rows": rows,
    }


def _label(meta: Mapping[str, Any]) -> str:
    variant = store.setting_pairs(meta["setting"]).get("variant")
    return f"{meta['method']} ({variant})" if variant else meta["method"]


def target_cards(profile: Profile) -> dict[tuple[str, str, int], dict[str, Any]]:
    """The cards of a profile's networks, by (data set, target, seed)."""
    paths = store.Paths(profile.name)
    cards = {}
    for dataset in profile.datasets:
        for name, seed, _ in profile.trainings(dataset):
            card = paths.target(dataset, name, seed).with_suffix(".json")
            cards[dataset, name, seed] = store.read_json(card)
    return cards


def write_networks(
    path: Path, cards: Mapping[tuple[str, str, int], Mapping[str, Any]]
) -> None:
    """Write ``networks.json``: what verdicts need of the networks' cards, their sizes and those of their training."""
    entries = {}
    for (dataset, target, seed), card in cards.items():
        kept = {key: card[key] for key in ("options", "images", "epochs")}
        entries[f"{dataset}/{target}/seed={seed}"] = kept
    store.write_json(path, entries)


def read_networks(path: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """``networks.json`` as ``target_cards``.

    Raises:
        StoreError: it is not there, or damaged.
    """
    cards = {}
    for name, card in store.read_json(path).items():
        dataset, target, seed = name.rsplit("/", 2)
        cards[dataset, target, int(seed.removeprefix("seed="))] = card
    return cards


def chapters(found: Mapping[str, papers.Found]) -> list[dict[str, Any]]:
    """The papers' chapters, in their order; they are drawn in parallel.

    Raises:
        RuntimeError: one could not be drawn.
    """
    units = [
        engine.Unit(paper, chapter, (paper, findings))
        for paper, findings in found.items()
    ]
    return _results(units, "chapter")


def side_by_side(function: Callable[[Any], Any], jobs: Sequence[Any]) -> list[Any]:
    """``map`` over jobs that begin with a name, in worker processes.

    Raises:
        RuntimeError: one failed.
    """
    return _results([engine.Unit(job[0], function, (job,)) for job in jobs], "picture")


def _results(units: Sequence[engine.Unit], what: str) -> list[Any]:
    results, failed = {}, []
    for done in engine.run(units, label="report"):
        name = done.unit.name
        results[name] = done.result
        if done.error:
            failed.append(f"{name}: {done.error}")
    if failed:
        raise RuntimeError(f"no {what} for {'; '.join(failed)}")
    return [results[unit.name] for unit in units]


def chapter(paper: str, found: papers.Found) -> dict[str, Any]:
    """A paper's part of the page: its title, citation, notes and pictures."""
    package, figures = papers.part(paper), papers.part(paper, "figures")
    pictures, lost = [], ""
    try:
        for picture in figures.pictures(found) if figures else ():
            pictures.append(_drawn(paper, picture))
    except Exception as error:  # a picture that fails never costs the board
        lost = engine.one_line(error)
    return {
        "paper": paper,
        "title": package.TITLE,
        "citation": package.CITATION,
        "notes": list(package.NOTES),
        "pictures": pictures,
        "lost": lost,
    }


def _drawn(paper: str, picture: papers.Picture) -> dict[str, Any]:
    """A picture as files, by kind, with its name and words."""
    kinds = ("png",) if picture.raster else ("svg", "png")
    files = plot_style.saved(picture.figure, kinds, dpi=110)
    name = plot_style.file_name(paper, picture.name)
    return {
        "name": f"photo-{name}" if picture.photo else name,
        "title": picture.title,
        "caption": picture.caption,
        "apart": picture.apart,
        **files,
    }
