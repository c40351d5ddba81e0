"""Everything that ``results/<profile>/`` shows, made from rows: board, reproduction, plots, page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark import store
from benchmark.leaderboard import reproduction, summaries, tables
from benchmark.leaderboard.render import gallery as galleries
from benchmark.leaderboard.render import markdown, page, plots, reproduction_markdown
from benchmark.utils import plot_style


def build(
    rows: pd.DataFrame,
    instances: pd.DataFrame | None,
    *,
    gallery: Mapping[tuple[str, str], Mapping[str, Any]] | None,
    data_cards: Mapping[str, Mapping[str, Any]],
    target_cards: Mapping[tuple[str, str, int], Mapping[str, Any]],
    provenance: Mapping[str, Any],
    reported: Path,
    out: Path,
    evidence: Mapping[str, str] | None = None,
    papers: Sequence[Mapping[str, Any]] = (),
) -> pd.DataFrame:
    """Write leaderboard.{csv,md}, reproduction.{csv,md}, ranks.csv, metrics.json, plots/ and index.html into ``out``; returns the board.

    The same input gives the same bytes. Plots of an earlier build that are not made again are removed.

    Args:
        rows, instances: as for ``tables.leaderboard``.
        gallery: by (dataset, target), as for ``gallery.figure``.
        data_cards: by data set. target_cards: by (dataset, target, seed).
        provenance: shown as it is; ``profile`` names the board.
        reported: folder of the published numbers and claims.
        evidence: by claim, what its verdict rests on, in words.
        papers: a chapter each: paper, title, citation, notes, lost (why pictures are missing), and pictures with name,
            title, caption, png and, unless it is a raster, svg (bytes); ``apart``: the page links to the png.

    Raises:
        ValueError, StoreError: input that does not belong together; nothing is written then.
    """
    profile = str(provenance.get("profile", ""))
    frame = tables.leaderboard(rows, instances)
    reproduced = reproduction.table(
        frame, reported, data_cards=data_cards, target_cards=target_cards, evidence=evidence
    )
    svgs, pngs = {}, {}
    for name, figure in plots.figures(frame):
        svgs[name] = plot_style.save(figure, "svg").decode()
        pngs[name] = plot_style.save(figure, "png")
    place = {label: i for i, label in enumerate(tables.average_ranks(frame, "heatmap")["label"])}
    for (dataset, target), entry in sorted((gallery or {}).items()):
        maps = dict(sorted(entry["maps"].items(), key=lambda item: place.get(item[0], len(place))))
        if maps:
            picture = galleries.figure({**entry, "maps": maps})
            pngs[plot_style.file_name("gallery", dataset, target)] = plot_style.save(
                picture, "png", dpi=110
            )
    html = page.render(
        frame,
        reproduced,
        svgs=svgs,
        pngs=pngs,
        data_cards=data_cards,
        target_cards=target_cards,
        provenance=provenance,
        papers=papers,
    )
    texts = {
        "leaderboard.csv": tables.csv_text(frame),
        "leaderboard.md": markdown.render(frame, profile),
        "reproduction.csv": reproduction.csv_text(reproduced),
        "reproduction.md": reproduction_markdown.render(reproduced, profile),
        "index.html": html,
        "ranks.csv": summaries.ranks(frame),
        "metrics.json": summaries.metrics(frame, reproduced),
    }
    for picture in (picture for chapter in papers for picture in chapter["pictures"]):
        pngs[picture["name"]] = picture["png"]
        if "svg" in picture:
            svgs[picture["name"]] = picture["svg"].decode()
    files = {f"{name}.svg": text.encode() for name, text in svgs.items()} | {
        f"{name}.png": data for name, data in pngs.items()
    }
    for name, text in texts.items():
        store.write_text(out / name, text)
    for name, data in files.items():
        with store.atomic(out / "plots" / name) as file:
            file.write(data)
    for stale in (out / "plots").glob("*.*"):
        if stale.suffix in (".svg", ".png") and stale.name not in files:
            stale.unlink()
    return frame
