"""The pages: ``index.html`` (what was found, boards), ``papers.html``, ``reproduction.html`` and ``about.html``.

They stand beside ``plots/``, whose pictures they show, and load nothing else: their content security policy forbids
it. Style and script are inside each page, so a folder that is copied, or opened without a network, is whole.

The templates are ``templates/*.html`` with ``page.css``, ``export.js`` and ``page.js``. All text is escaped
(autoescape).
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape
from PIL import Image

from benchmark import store
from benchmark.leaderboard import (
    all_profiles,
    controls,
    found,
    places,
    rankings,
    reproduction,
    stats,
    tables,
)
from benchmark.leaderboard.brief import Brief, Duel, briefs
from benchmark.leaderboard.contests import natural
from benchmark.leaderboard.render import markdown
from benchmark.utils import plot_style

Card = Mapping[str, Any]

TEMPLATES = Path(__file__).parent / "templates"
_CARD_FACTS = {  # key -> how it is called
    "licence": "licence",
    "citation": "citation",
    "counts": "images",
    "size": "pixels a side",
    "classes": "classes",
    "resize": "resized by",
    "changes": "changes",
    "skipped": "skipped images",
}
_EMPTY = ("", [], {})
_PAGES = {
    "Boards": "index.html",
    "Papers": "papers.html",
    "Reproduction": "reproduction.html",
    "About": "about.html",
}
_PAPERS = ("Papers", "Reproduction")
_SCRIPTS = ("export.js", "page.js")
_FIGURES = {  # of a track: file, what it shows
    "places": "the place of each method with its interval",
    "agreement": "how far the metrics order the methods alike",
    "critical": "average ranks of the methods, and which differ",
    "duels": "how many duels each method wins against each other",
    "settings": "average ranks of the methods under each setting of a metric",
}
_NAMED = 4  # methods that may lead as well are named up to here, then counted
_TARGET_FACTS = {
    "net": "architecture",
    "options": "options",
    "layer": "layer",
    "epochs": "epochs",
    "images": "images",
    "parameters": "parameters",
    "pretrained": "pretrained",
}


def render(
    frame: pd.DataFrame,
    placed: pd.DataFrame,
    reproduced: pd.DataFrame | None,
    *,
    svgs: Mapping[str, str],
    pngs: Mapping[str, bytes],
    data_cards: Mapping[str, Card],
    target_cards: Mapping[Any, Card],
    provenance: Mapping[str, Any],
    papers: Sequence[Mapping[str, Any]] | None = None,
    glossary: Mapping[str, Mapping[str, str]] | None = None,
    compared: Mapping[str, pd.DataFrame] | None = None,
) -> dict[str, str]:
    """The pages by file name.

    Args:
        frame, placed: from ``tables.leaderboard`` and ``places.places``.
        reproduced: from ``reproduction.table``; None: without the pages of papers and reproduction.
        svgs: figures by name (``plots.figures``).
        pngs: gallery pictures by name.
        data_cards: by data set.
        target_cards: by (dataset, target, seed).
        provenance: as for ``build``.
        papers: chapters, as for ``build``.
        glossary: of the metrics, as for ``build``.
        compared: by label of a new method, its ``placing.differences``: the first page begins with them.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = code
    environment.globals["anchor"] = anchor
    environment.globals["signs"] = {"best": "", **markdown.SIGNS}
    made = provenance.get("made", {})
    known = {key: value for key, value in provenance.items() if value not in _EMPTY}
    glossary = glossary or {}
    shown = [name for name in glossary if name in set(frame["metric"])]
    titles = [
        title for title in _PAGES if reproduced is not None or title not in _PAPERS
    ]
    facts = {
        "css": Markup((TEMPLATES / "page.css").read_text()),
        "js": Markup("\n".join(map(_script, _SCRIPTS))),
        "profile": str(provenance.get("profile", "")),
        "pages": [(title, _PAGES[title]) for title in titles],
        "tracks": [
            _track(frame, placed, track, svgs, pngs, glossary)
            for track in tables.tracks(frame)
        ],
        "unknown": _unknown(frame),
        "new": list(compared or ()),
        "standings": _standings(frame, placed, compared or {}),
        "findings": _findings(frame, placed),
        "boards": _boards(frame),
        "networks": _networks(frame, target_cards),
        "data": [_data(name, card) for name, card in sorted(data_cards.items())],
        "glossary": [glossary[name] for name in shown],
        "provenance": [
            (key.replace("_", " "), _text(value)) for key, value in known.items()
        ],
        "date": str(made.get("date", "")),
        "commit": str(made.get("commit", ""))[:12],
        "level": f"{stats.LEVEL:.0%}",
        "alpha": f"{stats.ALPHA:.0%}",
        "margin": f"{stats.MARGIN:.0%}",
        "enough": stats.NETWORKS,
        "places_note": markdown.PLACES,
    }
    if reproduced is not None:
        facts["names"] = {
            chapter["paper"]: chapter["title"].partition(":")[0]
            for chapter in papers or ()
        }
        facts["papers"] = [_paper(chapter, reproduced) for chapter in papers or ()]
        facts["reproduction"] = _reproduction(reproduced)
    pages = {}
    for title in titles:
        file = _PAGES[title]
        template = environment.get_template(file)
        sections = _sections(title, facts)
        pages[file] = template.render(here=title, sections=sections, **facts)
    return pages


def _sections(page: str, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Title and id of the parts of a page."""
    if page == "Boards":
        found = [(method["label"], method["id"]) for method in facts["standings"]]
        found += [("What was found", "findings")] if facts["findings"] else []
        found += [(track["title"], track["id"]) for track in facts["tracks"]]
        lost = facts["unknown"]
        return found + ([(lost["title"], "unknown")] if lost["losses"] else [])
    if page == "Papers":
        return [(paper["title"], paper["id"]) for paper in facts["papers"]]
    if page == "About":
        ids = ("networks", "data", "glossary", "provenance")
        return list(
            zip(("Networks", "Data", "Metrics", "Provenance"), ids, strict=True)
        )
    return []


def _script(name: str) -> str:
    return (TEMPLATES / name).read_text()


def code(text: object) -> Markup:
    """Text with `code` between backticks, as HTML; all of it is escaped."""
    html = re.sub(r"(`+)([^`]+)\1", r"<code>\2</code>", str(escape(text)))
    return Markup(html)


def anchor(*parts: str) -> str:
    """An id that is safe in HTML and in a link."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", "-".join(parts)).strip("-")


# --------------------------------------------------------------------------------------------- boards


def _boards(frame: pd.DataFrame) -> list[str]:
    """dataset/target of every board, once."""
    keys = [
        key for track in tables.tracks(frame) for key in tables.boards(frame, track)
    ]
    return list(dict.fromkeys(map("/".join, keys)))


def _findings(frame: pd.DataFrame, placed: pd.DataFrame) -> list[dict[str, Any]]:
    """For each track: who leads in each family, what counts, and the tables that do not."""
    out = []
    for track in tables.tracks(frame):
        heading, _ = tables.TRACKS.get(track, (track, ""))
        lines = [_found(line) for line in found.found(frame, placed, track)]
        out.append(
            {
                "id": anchor(track),
                "title": heading,
                "lines": lines,
                "counts": controls.summary(frame, track),
                "lost": controls.uncounted(frame, track),
            }
        )
    return out


def _found(line: found.Found) -> dict[str, Any]:
    """A line of what was found, in words; names with (label, control, place)."""
    family = line.family
    lost = f"in {line.lost} of {tables.plural(line.tables, 'table')}"
    if family in tables.ELSEWHERE:
        lost = "always: the family counts for methods that beat the controls elsewhere"
    elif not line.tables:
        lost = "no control"
    first, ties = _named(line.first), _named(line.ties)
    return {
        "family": markdown.family_title(family) if family else "all families",
        "first": first,
        "ties": [(label, control, "") for label, control, _ in ties[:_NAMED]],
        "more": [label for label, _, _ in ties[_NAMED:]],
        "lost": lost,
        "networks": line.networks,
    }


def _named(lines: pd.DataFrame) -> list[tuple[str, bool, str]]:
    return [
        (line.label, bool(line.control), places.words(line))
        for line in lines.itertuples()
    ]


def _standings(
    frame: pd.DataFrame, placed: pd.DataFrame, compared: Mapping[str, pd.DataFrame]
) -> list[dict[str, Any]]:
    """Of each new method, per track: its places, and in how many tables it beats or loses to each other method."""
    found = [each for each in briefs(frame, placed, compared) if each.duels]
    return [
        {
            "label": label,
            "id": anchor("new", label) if i == 0 else anchor("new", str(i), label),
            "tracks": [
                _standing(placed, each, differences)
                for each in found
                if each.method == label
            ],
        }
        for i, (label, differences) in enumerate(compared.items())
    ]


def _standing(
    placed: pd.DataFrame, brief: Brief, differences: pd.DataFrame
) -> dict[str, Any]:
    """One track of a new method; rivals in the order of their places."""
    heading, _ = tables.TRACKS.get(brief.track, (brief.track, ""))
    families = []
    for place in brief.places[1:]:
        families.append((markdown.family_title(place.family), places.words(place)))
    duels = {duel.rival: duel for duel in brief.duels}
    rivals = []
    for line in places.of(placed, brief.track).itertuples():
        if line.label in duels:
            rivals.append((line, duels[line.label]))
    of_track = differences[differences["track"] == brief.track]
    return {
        "title": heading,
        "id": anchor(brief.track),
        "place": places.words(brief.place),
        "of": brief.of,
        "families": families,
        "tables": of_track.groupby(tables.TABLE).ngroups,
        "beats": [duel.rival for _, duel in rivals if duel.gain > 0],
        "loses": [duel.rival for _, duel in rivals if duel.gain < 0],
        "rivals": [_rival(line, duel) for line, duel in rivals],
    }


def _rival(line, duel: Duel) -> dict[str, Any]:
    known = duel.undecided - duel.unknown
    return {
        "label": line.label,
        "control": line.control,
        "place": _place(line),
        "counts": [duel.won, duel.lost, duel.same, known, duel.unknown],
    }


def _track(
    frame: pd.DataFrame,
    placed: pd.DataFrame,
    track: str,
    svgs: Mapping[str, str],
    pngs: Mapping[str, bytes],
    glossary: Mapping[str, Any],
) -> dict[str, Any]:
    heading, what = tables.TRACKS.get(track, (track, ""))
    sensitivity = rankings.sensitivity(frame, track).itertuples()
    figures = {}
    for name, alt in _FIGURES.items():
        file = f"{name}-{track}"
        figures[name] = _drawn(svgs.get(file), file, f"{heading}: {alt}")
    return {
        "id": anchor(track),
        "title": heading,
        "what": what,
        "has_costs": bool(places.costs(frame, track)),
        "families": list(map(markdown.family_title, places.families(placed, track))),
        "places": _places(frame, placed, track),
        "figure": figures.pop("places"),
        "controls": any(places.of(placed, track)["control"]),
        **figures,
        "counts": controls.summary(frame, track),
        "sensitivity": [markdown.sensitivity_words(line) for line in sensitivity],
        "boards": [
            _drawn_board(board(frame, placed, track, *key, glossary), track, svgs, pngs)
            for key in tables.boards(frame, track)
        ],
    }


def _places(
    frame: pd.DataFrame, placed: pd.DataFrame, track: str
) -> list[dict[str, Any]]:
    """The lines of the table of places; cells of text with the numbers that they sort by."""
    moves = rankings.moves(frame, track)
    costs = places.costs(frame, track)
    by_family = {}
    for family in places.families(placed, track):
        found = places.of(placed, track, family).itertuples()
        by_family[family] = {line.label: line for line in found}
    out = []
    for line in places.of(placed, track).itertuples():
        first, won = markdown.shares(line)
        cells = [
            _place(line),
            _text_cell(first, line.first),
            _text_cell(won, line.win_rate),
        ]
        if costs:
            cost = costs.get(line.label, math.nan)
            cells.append(_text_cell(markdown.passes(cost), cost))
        for lines in by_family.values():
            cells.append(_place(lines.get(line.label)))
        cells += [_text_cell(str(n), n) for n in (line.failed, line.tables)]
        if len(moves):
            move = float(moves.get(line.label, float("nan")))
            cells.append(_text_cell("–" if math.isnan(move) else f"{move:.2f}", move))
        out.append({"label": line.label, "control": line.control, "cells": cells})
    return out


def _place(line) -> dict[str, str]:
    """The cell of a place with its interval."""
    if line is None:
        return _text_cell("–", math.nan)
    return _text_cell(places.words(line), line.place, line.low, line.high)


def _text_cell(
    text: str, number: float, low: float = math.nan, high: float = math.nan
) -> dict[str, str]:
    """A cell: its text, the number that it sorts by (none, last either way, for NaN), and an interval."""
    numbers = {"sort": number, "low": low, "high": high}
    texts = {key: store.format_value(value) for key, value in numbers.items()}
    return {"text": text, "range": "", **texts}


def _drawn_board(
    board: dict[str, Any],
    track: str,
    svgs: Mapping[str, str],
    pngs: Mapping[str, bytes],
) -> dict[str, Any]:
    """A board with its figure and, of heat maps, its gallery."""
    dataset, target = board["dataset"], board["target"]
    name = plot_style.file_name("board", track, dataset, target)
    gallery = plot_style.file_name("gallery", dataset, target)
    photo = pngs.get(gallery) if track == "heatmap" else None
    alt = f"The same images of {dataset} under every method, for {target}"
    means = f"{board['title']}: mean and interval of each method by each metric"
    figure = _drawn(svgs.get(name), name, means)
    picture = _raster(photo, gallery, alt) if photo else None
    return board | {"figure": figure, "gallery": picture}


def board(
    frame: pd.DataFrame,
    placed: pd.DataFrame,
    track: str,
    dataset: str,
    target: str,
    glossary: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """The table of one network: its columns, a line of cells per method, gains, losses."""
    part = tables.shown(frame, track, dataset, target)
    columns = []
    for key, lines in part.groupby(["metric", "metric_setting"], sort=False):
        columns.append(_column(*key, lines, glossary))
    found = {}
    for line in part.itertuples():
        found[line.label, line.metric, line.metric_setting] = line
    methods = []
    for label, control in markdown.order(placed, part, track):
        cells = []
        for column in columns:
            line = found.get((label, *column["key"]))
            cells.append(_cell(line, column["places"]))
        methods.append({"label": label, "control": control, "cells": cells})
    lost = tables.losses(tables.on_board(frame, track, dataset, target))
    excused = lost["reason"].str.startswith(("not applicable", tables.NOTE))
    heading, _ = tables.TRACKS.get(track, (track, ""))
    return {
        "id": anchor(track, dataset, target),
        "dataset": dataset,
        "target": target,
        "title": f"{heading}, {dataset} / {target}",
        "caption": tables.caption(part),
        "columns": columns,
        "methods": methods,
        "gains": _gains(part, columns),
        "losses": lost.to_dict("records"),
        "failed": not excused.all(),
    }


def _gains(
    part: pd.DataFrame, columns: Sequence[Mapping[str, Any]]
) -> list[dict[str, str]]:
    """By column, what the best method gains over the better control; empty if no table has a control."""
    found = {}
    for line in controls.gains(part).dropna(subset="gain_low").itertuples():
        found[line.metric, line.metric_setting] = line
    if not found:
        return []
    cells = []
    for column in columns:
        line = found.get(column["key"])
        if line is None:
            cells.append(_text_cell("–", math.nan))
        else:
            text, _, interval = controls.gain_text(line, column["places"]).partition(
                " "
            )
            cell = _text_cell(text, line.gain, line.gain_low, line.gain_high)
            cells.append(cell | {"range": interval})
    return cells


def _column(
    metric: str,
    metric_setting: str,
    lines: pd.DataFrame,
    glossary: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """The heading of a metric's column, and how its numbers are written."""
    first = lines.iloc[0]
    return {
        "key": (metric, metric_setting),
        "metric": metric,
        "family": first["family"],
        "explained": metric in glossary,
        "title": glossary.get(metric, {}).get("title") or tables.title(metric),
        "setting": metric_setting.replace(";", ", "),
        "unit": first["unit"],
        "better": first["better"],
        "arrow": tables.arrow(first["better"]),
        "places": tables.decimals(lines["mean"]),
        "doubt": tables.doubtful(lines),
    }


def _cell(line, digits: int) -> dict[str, Any]:
    """What a table cell shows: text, interval, mark, and the number it sorts by (empty comes last)."""
    if line is None or line.status != "ok":
        failed = line is not None and line.status == "failed"
        return {
            "text": "failed" if failed else "–",
            "mark": "failed" if failed else "none",
            "sort": "",
            "range": "",
            "low": "",
            "high": "",
            "title": "" if line is None else line.reason,
            "partial": False,
        }
    notes = [f"{line.n_images} images, {tables.plural(line.n_seeds, 'seed')}"]
    if line.mark == "alone":
        notes.append(tables.MARKS["alone"])
    if pd.notna(line.p):
        notes.append(f"no better method: p = {line.p:.2g}")
    if pd.notna(line.gain_low):
        notes.append(f"over the better control: {controls.gain_text(line, digits)}")
    if line.reason:
        notes.append(line.reason)
    return {
        "text": tables.number(line.mean, digits),
        "mark": line.mark,
        "sort": store.format_value(line.mean),
        "range": tables.interval(line, digits),
        "low": store.format_value(line.low),
        "high": store.format_value(line.high),
        "title": "; ".join(notes),
        "partial": tables.is_partial(line),
    }


def _unknown(frame: pd.DataFrame) -> dict[str, Any]:
    """Methods that failed before their track was known, on any network."""
    heading, what = tables.TRACKS["unknown"]
    lost = tables.losses(frame[frame["track"] == "unknown"])
    return {"title": heading, "what": what, "losses": lost.to_dict("records")}


# --------------------------------------------------------------------------------------------- papers


def _paper(chapter: Mapping[str, Any], reproduced: pd.DataFrame) -> dict[str, Any]:
    """A chapter: the paper, the findings, the verdicts on its claims, its pictures."""
    of_paper = reproduced[reproduced["paper"] == chapter["paper"]]
    claims = of_paper[reproduction.is_claim(of_paper)]
    pictures: list[dict[str, Any]] = []
    for picture in chapter["pictures"]:
        if (
            picture.get("apart") and pictures
        ):  # a link below the picture that it belongs to
            link = {"href": f"plots/{picture['name']}.png", "title": picture["title"]}
            pictures[-1]["links"].append(link)
        else:
            pictures.append(_picture(picture))
    return {
        **chapter,
        "id": anchor("paper", chapter["paper"]),
        "claims": claims[claims["verdict"] != "not run"].to_dict("records"),
        "counts": reproduction.counts(claims),
        "pictures": pictures,
    }


def _picture(picture: Mapping[str, Any]) -> dict[str, Any]:
    """A picture of a paper: its SVG, or its PNG if it is a raster."""
    name, title = picture["name"], picture["title"]
    svg = picture.get("svg", b"").decode()
    png = picture["png"]
    shown = _drawn(svg, name, title) if svg else _raster(png, name, title)
    shown["drawn"] &= "<image" not in svg  # photographs keep their colours in the dark
    return {
        **shown,
        "title": title,
        "caption": picture["caption"],
        "id": anchor(name),
        "links": [],
    }


# --------------------------------------------------------------------------------------------- cards


def _networks(frame: pd.DataFrame, cards: Mapping[Any, Card]) -> list[dict[str, Any]]:
    """One entry per (dataset, target): accuracies from the board, facts from the card of its first seed."""
    trained = {(dataset, target) for dataset, target, _ in cards}
    out = []
    shown = set(tables.boards(frame, "target"))
    for dataset, target in sorted(trained | shown, key=_natural):
        mine = tables.on_board(frame, "target", dataset, target)
        seeds = sorted(key[2] for key in cards if key[:2] == (dataset, target))
        card = cards[dataset, target, seeds[0]] if seeds else {}
        out.append(
            {
                "dataset": dataset,
                "target": target,
                "seeds": ", ".join(map(str, seeds)),
                "values": [_fact(line) for line in mine.itertuples()],
                "facts": _facts(card, _TARGET_FACTS),
                "recipe": _text(card["recipe"]) if card.get("recipe") else "",
                "notes": [str(note) for note in card.get("notes", ())],
                "at_chance": bool(card.get("at_chance")),
            }
        )
    return out


def _natural(network: tuple[str, str]) -> tuple[Any, ...]:
    return tuple(map(natural, network))


def _fact(line) -> dict[str, Any]:
    """A line of track ``target``."""
    name = tables.title(line.metric, line.metric_setting)
    return {
        "name": name,
        "unit": line.unit,
        **_cell(line, tables.decimals([line.mean])),
    }


def _facts(card: Card, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """What a card says of the keys of ``names``, in words; nothing of those that are empty or 0."""
    out = []
    for key, name in names.items():
        if card.get(key):
            out.append((name, _text(card[key])))
    return out


def _data(name: str, card: Card) -> dict[str, Any]:
    url = str(card.get("url", ""))
    provenance = card.get("provenance", {})
    files = provenance.get("files", [])
    return {
        "name": name,
        "title": str(card.get("title", name)),
        "what": str(card.get("what", "")),
        "url": url if re.match(r"https?://", url) else "",
        "facts": _facts(card | provenance, _CARD_FACTS),
        "files": [_text(list(file.values())) for file in files],
    }


def _text(value: Any) -> str:
    """A fact in words: ``train 1,400, test 397``."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    if isinstance(value, (bool, float)):
        return json.dumps(value)
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def _reproduction(frame: pd.DataFrame) -> dict[str, Any]:
    claims = reproduction.is_claim(frame)
    measured = frame[~claims & (frame["measured"] != "")]
    return {
        "claims": frame[claims].to_dict("records"),
        "numbers": measured.to_dict("records"),
        "claim_counts": reproduction.counts(frame[claims]),
        "number_counts": reproduction.counts(frame[~claims]),
        "not_run": reproduction.not_run(frame).to_dict("records"),
        "counts": all_profiles.counts(frame[~claims]).to_dict("records"),
    }


# --------------------------------------------------------------------------------------------- figures


def _drawn(svg: str | None, name: str, alt: str) -> dict[str, Any] | None:
    """A drawing among the plots, in the size that it has on the page; its inks are turned in the dark."""
    if svg is None:
        return None
    points = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', svg).groups()
    width, height = (round(float(size) * 4 / 3) for size in points)
    src = f"plots/{name}.svg"
    return {"src": src, "width": width, "height": height, "alt": alt, "drawn": True}


def _raster(png: bytes, name: str, alt: str) -> dict[str, Any]:
    """A PNG among the plots."""
    width, height = Image.open(io.BytesIO(png)).size
    src = f"plots/{name}.png"
    return {"src": src, "width": width, "height": height, "alt": alt, "drawn": False}
