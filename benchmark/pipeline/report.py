"""From the cells of a profile to its folder in ``results/``: rows, board, reproduction, plots, page, provenance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark import data, engine, leaderboard, papers, store
from benchmark.pipeline import cells, collect, inputs, replicate
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.profile import Profile
from benchmark.pipeline.provenance import kept, provenance
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
    leaderboard.build(
        store.read_rows(paths.rows),  # as a reader of the file sees them
        instances,
        gallery=gallery(profile),
        data_cards={
            name: data.load_card(paths.data(name)) for name in profile.datasets
        },
        target_cards=target_cards(profile),
        provenance=facts,
        evidence=evidence,
        papers=chapters(found),
        reported=paths.reported,
        out=paths.results,
    )
    store.write_json(paths.results / "provenance.json", facts)
    return paths.results


def gallery(
    profile: Profile, images: int = GALLERY_IMAGES
) -> dict[tuple[str, str], dict[str, Any]]:
    """For each (data set, target): the same few images under every method that draws maps; first seed."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for dataset in profile.datasets:
        first = {}
        for cell in cells.cells(profile, dataset):
            if first.setdefault(cell.target, cell.seed) != cell.seed:
                continue
            meta = cells.read_meta(cell.explanation)
            if meta["status"] != "ok":
                continue
            explanation, _ = cells.read_explanation(cell.explanation)
            if explanation.heatmaps is None:
                continue
            entry = found.get((dataset, cell.target)) or found.setdefault(
                (dataset, cell.target), _images(cell, images)
            )
            entry["maps"][_label(meta)] = explanation.heatmaps[entry["rows"]]
    return found


def _images(cell: Cell, n: int) -> dict[str, Any]:
    """Images of n different classes where there are as many, with what the network says of them."""
    batch, target = inputs.load_batch(cell), inputs.load_target(cell)
    y = batch.y.cpu().numpy()
    first_of_class = np.unique(y, return_index=True)[1]
    rows = np.concatenate(
        [np.sort(first_of_class), np.setdiff1d(np.arange(len(y)), first_of_class)]
    )[:n]
    predicted = target(batch).argmax(1).cpu().numpy()
    return {
        "images": (batch.x.cpu().numpy()[rows] * 255).round().astype(np.uint8),
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


def chapters(found: Mapping[str, papers.Found]) -> list[dict[str, Any]]:
    """The papers' chapters, in their order; they are drawn side by side.

    Raises:
        RuntimeError: one could not be drawn.
    """
    units = [
        engine.Unit(paper, chapter, (paper, findings))
        for paper, findings in found.items()
    ]
    done = {one.unit.name: one for one in engine.run(units, label="report")}
    if failed := [f"{name}: {one.error}" for name, one in done.items() if one.error]:
        raise RuntimeError(f"no chapter for {'; '.join(failed)}")
    return [done[paper].result for paper in found]


def chapter(paper: str, found: papers.Found) -> dict[str, Any]:
    """A paper's part of the page: what it says of itself, and its pictures."""
    package, figures = papers.part(paper), papers.part(paper, "figures")
    pictures, lost = [], ""
    try:
        for picture in figures.pictures(found) if figures else ():
            kinds = ("png",) if picture.raster else ("svg", "png")
            files = {
                kind: plot_style.save(picture.figure, kind, dpi=110) for kind in kinds
            }
            name = (
                f"{'photo-' * picture.photo}{plot_style.file_name(paper, picture.name)}"
            )
            pictures.append(
                {
                    "name": name,
                    "title": picture.title,
                    "caption": picture.caption,
                    "apart": picture.apart,
                    **files,
                }
            )
    except Exception as error:  # a picture never costs the board
        lost = engine.one_line(error)
    return {
        "paper": paper,
        "title": package.TITLE,
        "citation": package.CITATION,
        "notes": list(package.NOTES),
        "pictures": pictures,
        "lost": lost,
    }


# --------------------------------------------------------------------------------------------- provenance
