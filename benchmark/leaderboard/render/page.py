"""One self-contained ``index.html``: board, plots, gallery, reproduction, cards, provenance. Nothing is loaded from
anywhere; the page's own policy forbids it.

The template is ``templates/page.html`` with its ``page.css`` and ``page.js``, put inline. All text is escaped (autoescape);
the only markup let through is that of our own figures.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from benchmark.leaderboard import rankings, reproduction, stats, tables
from benchmark.leaderboard.render import markdown
from benchmark.utils import plot_style

TEMPLATES = Path(__file__).parent / "templates"
_CARD_FACTS = (
    "licence",
    "citation",
    "counts",
    "size",
    "classes",
    "resize",
    "provenance",
    "skipped",
)
_TARGET_FACTS = ("net", "options", "layer", "epochs", "images", "parameters", "pretrained")


def render(
    frame: pd.DataFrame,
    reproduced: pd.DataFrame,
    *,
    svgs: Mapping[str, str],
    pngs: Mapping[str, bytes],
    data_cards: Mapping[str, Mapping[str, Any]],
    target_cards: Mapping[Any, Mapping[str, Any]],
    provenance: Mapping[str, Any],
    papers: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The page.

    Args:
        frame, reproduced: as ``tables.leaderboard`` and ``reproduction.table`` give them.
        svgs: figures by name (``plots.figures``); pngs: gallery pictures by name.
        data_cards: by data set. target_cards: by (dataset, target, seed).
        papers: chapters, as for ``build``.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made = provenance.get("made", {})
    return environment.get_template("page.html").render(
        css=Markup((TEMPLATES / "page.css").read_text()),
        js=Markup((TEMPLATES / "page.js").read_text()),
        profile=str(provenance.get("profile", "")),
        tracks=[_track(frame, track, svgs, pngs) for track in tables.tracks(frame)],
        unknown=_unknown(frame),
        papers=[_paper(chapter, reproduced) for chapter in papers],
        findings=list(tables.findings(frame)["text"]),
        networks=_networks(frame, target_cards),
        data=[_data(name, card) for name, card in sorted(data_cards.items())],
        reproduction=_reproduction(reproduced),
        provenance=[
            (key.replace("_", " "), _text(value))
            for key, value in provenance.items()
            if value not in ("", [], {})
        ],
        date=str(made.get("date", "")),
        commit=str(made.get("commit", ""))[:12],
        level=f"{stats.LEVEL:.0%}",
        sound=markdown.sound,
        alpha=f"{stats.ALPHA:g}",
    )


def anchor(*parts: str) -> str:
    """An id that is safe in HTML and in a link."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", "-".join(parts)).strip("-")


# --------------------------------------------------------------------------------------------- boards


def _track(
    frame: pd.DataFrame, track: str, svgs: Mapping[str, str], pngs: Mapping[str, bytes]
) -> dict[str, Any]:
    heading, what = tables.TRACKS.get(track, (track, ""))
    average = tables.average_ranks(frame, track)
    return {
        "id": anchor(track),
        "title": heading,
        "what": what,
        "ranks": average.assign(moves=average["label"].map(rankings.moves(frame, track))).to_dict(
            "records"
        ),
        "figure": _svg(svgs.get(f"ranks-{track}"), f"ranks-{track}"),
        **{
            name: _svg(svgs.get(f"{name}-{track}"), f"{name}-{track}")
            for name in ("agreement", "critical", "settings")
        },
        "sensitivity": [
            markdown.sensitivity_words(line)
            for line in rankings.sensitivity(frame, track).itertuples()
        ],
        "boards": [_board(frame, track, *key, svgs, pngs) for key in tables.boards(frame, track)],
    }


def _board(
    frame: pd.DataFrame,
    track: str,
    dataset: str,
    target: str,
    svgs: Mapping[str, str],
    pngs: Mapping[str, bytes],
) -> dict[str, Any]:
    part = tables.shown(frame, track, dataset, target)
    columns = []
    for (metric, metric_setting), lines in part.groupby(["metric", "metric_setting"], sort=False):
        first = lines.iloc[0]
        columns.append(
            {
                "key": (metric, metric_setting),
                "title": tables.title(metric),
                "setting": metric_setting.replace(";", ", "),
                "unit": first["unit"],
                "better": first["better"],
                "arrow": tables.arrow(first["better"]),
                "places": tables.decimals(lines["mean"]),
                "doubt": bool((lines["control"] & (lines["mark"] != "")).any()),
            }
        )
    cells = {(line.label, line.metric, line.metric_setting): line for line in part.itertuples()}
    methods = [
        {
            "label": label,
            "control": control,
            "cells": [_cell(cells.get((label, *c["key"])), c["places"]) for c in columns],
        }
        for label, control in markdown.order(frame, part, track)
    ]
    lost = tables.losses(
        frame[
            (frame["track"] == track) & (frame["dataset"] == dataset) & (frame["target"] == target)
        ]
    )
    name = plot_style.file_name("board", track, dataset, target)
    picture = (
        pngs.get(plot_style.file_name("gallery", dataset, target)) if track == "heatmap" else None
    )
    return {
        "id": anchor(track, dataset, target),
        "dataset": dataset,
        "target": target,
        "columns": columns,
        "methods": methods,
        "losses": lost.to_dict("records"),
        "figure": _svg(svgs.get(name), name),
        "gallery": picture and "data:image/png;base64," + base64.b64encode(picture).decode(),
    }


def _cell(line, places: int) -> dict[str, Any]:
    """What a table cell shows: text, interval, mark, and the number it sorts by (empty comes last)."""
    if line is None or line.status != "ok":
        failed = line is not None and line.status == "failed"
        return {
            "text": "failed" if failed else "–",
            "mark": "failed" if failed else "none",
            "sort": "",
            "range": "",
            "title": "" if line is None else line.reason,
            "partial": False,
        }
    span = (
        f"{tables.number(line.low, places)} – {tables.number(line.high, places)}"
        if pd.notna(line.low)
        else ""
    )
    notes = [f"mean of {line.n_images} images, {line.n_seeds} seed{'s' * (line.n_seeds > 1)}"]
    if pd.notna(line.p_holm):
        notes.append(f"against the best: p = {line.p_holm:.2g} (Holm)")
    notes += [line.reason] if line.reason else []
    return {
        "text": tables.number(line.mean, places),
        "mark": line.mark,
        "sort": repr(float(line.mean)),
        "range": span,
        "title": "; ".join(notes),
        "partial": bool(line.reason),
    }


def _unknown(frame: pd.DataFrame) -> dict[str, Any]:
    """What failed before anything was known of it, on any network."""
    heading, what = tables.TRACKS["unknown"]
    lost = tables.losses(frame[frame["track"] == "unknown"])
    return {"title": heading, "what": what, "losses": lost.to_dict("records")}


# --------------------------------------------------------------------------------------------- papers


def _paper(chapter: Mapping[str, Any], reproduced: pd.DataFrame) -> dict[str, Any]:
    """A chapter: what the paper is, what was found, how its claims fare, its pictures."""
    claims = reproduced[
        (reproduced["paper"] == chapter["paper"]) & reproduction.is_claim(reproduced)
    ]
    pictures = []
    for picture in chapter["pictures"]:
        if picture.get("apart") and pictures:  # a link below the picture that it belongs to
            pictures[-1]["links"].append(
                {"href": f"plots/{picture['name']}.png", "title": picture["title"]}
            )
            continue
        svg = picture.get("svg")
        shown = _svg(svg.decode(), picture["name"]) if svg else None
        png = None if svg else "data:image/png;base64," + base64.b64encode(picture["png"]).decode()
        pictures.append(
            {**picture, "id": anchor(picture["name"]), "svg": shown, "png": png, "links": []}
        )
    return {
        **chapter,
        "id": anchor("paper", chapter["paper"]),
        "claims": claims[claims["verdict"] != "not run"].to_dict("records"),
        "counts": reproduction.counts(claims),
        "pictures": pictures,
    }


# --------------------------------------------------------------------------------------------- cards


def _networks(frame: pd.DataFrame, cards: Mapping[Any, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry a (dataset, target): accuracies from the board, facts from the card of its first seed."""
    facts = frame[frame["track"] == "target"]
    keys = sorted({(key[0], key[1]) for key in cards} | set(tables.boards(frame, "target")))
    out = []
    for dataset, target in keys:
        mine = facts[(facts["dataset"] == dataset) & (facts["target"] == target)]
        seeds = sorted(key[2] for key in cards if key[:2] == (dataset, target))
        card = cards[dataset, target, seeds[0]] if seeds else {}
        out.append(
            {
                "dataset": dataset,
                "target": target,
                "seeds": ", ".join(map(str, seeds)),
                "values": [
                    {
                        "name": tables.title(r.metric, r.metric_setting),
                        "unit": r.unit,
                        **_cell(r, tables.decimals([r.mean])),
                    }
                    for r in mine.itertuples()
                ],
                "facts": [
                    (key, _text(card[key]))
                    for key in _TARGET_FACTS
                    if card.get(key) not in (None, "", {})
                ],
                "recipe": _text(card["recipe"]) if card.get("recipe") else "",
            }
        )
    return out


def _data(name: str, card: Mapping[str, Any]) -> dict[str, Any]:
    url = str(card.get("url", ""))
    return {
        "name": name,
        "title": str(card.get("title", name)),
        "what": str(card.get("what", "")),
        "url": url if re.match(r"https?://", url) else "",
        "facts": [
            (key, _text(card[key]))
            for key in _CARD_FACTS
            if card.get(key) not in (None, "", [], {})
        ],
    }


def _text(value: Any) -> str:
    """A fact in words: ``train 1,400, test 397``."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return json.dumps(value) if isinstance(value, (bool, float)) else str(value)


def _reproduction(frame: pd.DataFrame) -> dict[str, Any]:
    claims = reproduction.is_claim(frame)
    measured = frame[~claims & (frame["measured"] != "")]
    return {
        "claims": frame[claims].to_dict("records"),
        "numbers": measured.to_dict("records"),
        "claim_counts": reproduction.counts(frame[claims]),
        "number_counts": reproduction.counts(frame[~claims]),
        "not_run": reproduction.not_run(frame).to_dict("records"),
    }


# --------------------------------------------------------------------------------------------- figures


def _svg(svg: str | None, name: str) -> Markup | None:
    """An SVG to put inline: its ids made unique in the page, its ink that of the page, its width free."""
    if svg is None:
        return None
    prefix = anchor(name)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = svg.replace("url(#", f"url(#{prefix}-").replace('href="#', f'href="#{prefix}-')
    svg = svg.replace(plot_style.INK, "currentColor")
    width, height = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', svg).groups()
    attributes = f'role="img" aria-label="{name}" style="max-width:{float(width) * 4 / 3:.0f}px"'
    return Markup(svg.replace(f'width="{width}pt" height="{height}pt"', attributes, 1))
