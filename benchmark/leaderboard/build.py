"""Everything that ``results/<profile>/`` shows, made from rows: board, reproduction, plots, page."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from benchmark import store
from benchmark.leaderboard import places, reproduction, summaries, tables
from benchmark.leaderboard.board import Board
from benchmark.leaderboard.contests import UNRANKED
from benchmark.leaderboard.render import gallery as galleries
from benchmark.leaderboard.render import markdown, page, plots, reproduction_markdown
from benchmark.utils import plot_style

# a picture's name, what draws it, the kinds of files to make of it, their dots per inch
Job = tuple[str, Callable[[], Figure], Sequence[str], int]
Apply = Callable[[Callable[[Job], dict[str, bytes]], Sequence[Job]], Iterable[Any]]


def build(
    rows: pd.DataFrame,
    board: Board,
    *,
    gallery: Mapping[tuple[str, str], Mapping[str, Any]] | None,
    data_cards: Mapping[str, Mapping[str, Any]],
    target_cards: Mapping[tuple[str, str, int], Mapping[str, Any]],
    provenance: Mapping[str, Any],
    reported: Path,
    out: Path,
    evidence: Mapping[str, str] | None = None,
    papers: Sequence[Mapping[str, Any]] | None = None,
    glossary: Mapping[str, Mapping[str, str]] | None = None,
    compared: Mapping[str, pd.DataFrame] | None = None,
    known: Mapping[tuple[str, str], bytes] | None = None,
    apply: Apply = map,
) -> None:
    """Write the files of ``results/<profile>/`` except rows and provenance into ``out``.

    They are leaderboard.{csv,md}, places.csv, ranks.csv, metrics.json, plots/ and the pages; with ``papers`` also
    reproduction.{csv,md}. Plots and pages of an evaluation (``compared``) have its methods' tracks only.
    The same input gives the same bytes. Plots of an earlier build that this one does not make are removed.

    Args:
        rows: as for ``tables.leaderboard``.
        board: of these rows.
        gallery: by (dataset, target), as for ``gallery.figure``.
        data_cards: by data set.
        target_cards: by (dataset, target, seed).
        provenance: shown unchanged; ``profile`` names the board.
        reported: folder of the published numbers and claims.
        evidence: by claim, what its verdict rests on, in words.
        papers: a chapter each: paper, title, citation, notes, lost (why pictures are missing), and pictures with name,
            title, caption, png and, unless it is a raster, svg (bytes); ``apart``: the page only links to the png.
            None: nothing of papers and reproduction.
        glossary: by metric: name, title, question, formula, range, weakness, better, family, source (texts).
        compared: by label of a new method, its ``placing.differences``: it is marked in tables and plots.
        known: by (dataset, target), a PNG of the same images under known methods whose maps the gallery lacks.
        apply: ``map``, or what applies a function to jobs side by side, in other processes.

    Raises:
        ValueError, StoreError: inputs that do not match; nothing is written then.
    """
    profile = str(provenance.get("profile", ""))
    _, frame, placed = board
    reproduced = None
    if papers is not None:
        reproduced = reproduction.table(
            rows,
            reported,
            data_cards=data_cards,
            target_cards=target_cards,
            evidence=evidence,
        )
    visible, new = frame, list(compared or ())
    if compared:
        mine = frame["label"].isin(new) & (frame["status"] != "not applicable")
        visible = frame[frame["track"].isin({*frame.loc[mine, "track"], *UNRANKED})]
    kinds = ("svg",) if compared else ("svg", "png")  # no README shows those
    jobs: list[Job] = []
    for name, draw in plots.drawings(visible, placed, new):
        jobs.append((name, draw, kinds, 130))
    for name, draw in _galleries(placed, gallery or {}, new):
        jobs.append((name, draw, ("png",), 110))
    svgs, pngs = {}, {}
    with ThreadPoolExecutor(1) as aside:  # while others draw
        writing = aside.submit(_tables, frame, placed, reproduced, profile)
        for (name, *_), files in zip(jobs, apply(_drawn, jobs), strict=True):
            if "svg" in files:
                svgs[name] = files["svg"].decode()
            if "png" in files:
                pngs[name] = files["png"]
    for network, picture in (known or {}).items():
        name = plot_style.file_name("gallery", *network)
        if name in pngs:
            pngs[name] = galleries.beside(pngs[name], picture)
    pages = page.render(
        visible,
        placed,
        reproduced,
        svgs=svgs,
        pngs=pngs,
        data_cards=data_cards,
        target_cards=target_cards,
        provenance=provenance,
        papers=papers,
        glossary=glossary,
        compared=compared,
    )
    plotted = {f"{name}.svg": text.encode() for name, text in svgs.items()}
    plotted |= {f"{name}.png": data for name, data in pngs.items()}
    plotted |= _pictures(papers or ())
    for name, text in {**writing.result(), **pages}.items():
        store.write_text(out / name, text)
    _write_plots(out / "plots", plotted)


def _tables(
    frame: pd.DataFrame,
    placed: pd.DataFrame,
    reproduced: pd.DataFrame | None,
    profile: str,
) -> dict[str, str]:
    """What is written without pictures, by file name."""
    texts = {
        "leaderboard.csv": tables.csv_text(frame),
        "leaderboard.md": markdown.render(frame, placed, profile),
        "places.csv": places.csv_text(placed),
        "ranks.csv": summaries.ranks(placed),
        "metrics.json": summaries.metrics(frame, placed, reproduced),
    }
    if reproduced is not None:
        texts["reproduction.csv"] = reproduction.csv_text(reproduced)
        texts["reproduction.md"] = reproduction_markdown.render(reproduced, profile)
    return texts


def _galleries(
    placed: pd.DataFrame,
    gallery: Mapping[tuple[str, str], Mapping[str, Any]],
    new: Collection[str],
) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Gallery pictures by name, methods in the order of their places, new ones first."""
    ranked = places.of(placed, "heatmap")["label"]
    place = {label: i for i, label in enumerate(ranked)}
    for (dataset, target), entry in sorted(gallery.items()):
        labels = sorted(entry["maps"], key=lambda label: place.get(label, len(place)))
        labels.sort(key=lambda label: label not in new)
        if labels:
            maps = {label: entry["maps"][label] for label in labels}
            draw = partial(galleries.figure, {**entry, "maps": maps}, new)
            yield plot_style.file_name("gallery", dataset, target), draw


def _drawn(job: Job) -> dict[str, bytes]:
    _, draw, kinds, dpi = job
    return plot_style.saved(draw(), kinds, dpi=dpi)


def _pictures(papers: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """The papers' pictures by file name."""
    files = {}
    for chapter in papers:
        for picture in chapter["pictures"]:
            for kind in ("svg", "png"):
                if kind in picture:
                    files[f"{picture['name']}.{kind}"] = picture[kind]
    return files


def _write_plots(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files and remove pictures that are not among them."""
    for name, data in files.items():
        with store.atomic(folder / name) as file:
            file.write(data)
    for path in folder.glob("*.*"):
        if path.suffix in (".svg", ".png") and path.name not in files:
            path.unlink()
