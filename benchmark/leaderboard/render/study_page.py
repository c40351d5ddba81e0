"""The page of a study with people: one form, self-contained, that works from a file without a network.

It looks like ``page.py``'s page (``page.css``, light and dark) and is filled in with plain form controls, on screen or
on paper. A script, inline as everything, counts what is answered and offers the answers as CSV: person, task, answer.
Nothing is sent anywhere, and the truth is not in it. All text is escaped.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from benchmark.leaderboard.render import gallery
from benchmark.leaderboard.render.page import TEMPLATES

Array = np.ndarray

SMALL = 64  # pixels of a side: up to here every pixel is shown as a square, and kept exactly
QUALITY = 90  # of the JPEG of larger images


def render(kit: Any, stages: Any, tasks: Mapping[str, Any], form: int) -> str:
    """The page of one form.

    Args:
        kit: ``title``, ``text``, ``examples`` (as ``papers.kits.Kit``).
        stages: of the form, each with ``title``, ``text`` and ``tasks``.
        tasks: id -> (stage, task), in the stages' order.
        form: counted from 1.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = [(TEMPLATES / name).read_text() for name in ("page.css", "study.css")]
    ids = iter(tasks)
    sections = []
    for stage in stages:
        shown = [_task(next(ids), task) for task in stage.tasks]
        most = max(len(task.pictures) for task in stage.tasks)
        several = any(task.hints or task.kind == "text" for task in stage.tasks)
        across = most if 1 <= most <= 2 and not several else 0
        section = {"title": stage.title, "text": stage.text, "tasks": shown}
        sections.append(section | {"across": 2 if several and most == 1 else across})
    return environment.get_template("study.html").render(
        css=Markup("\n".join(style)),
        js=Markup((TEMPLATES / "study.js").read_text()),
        title=kit.title,
        text=list(kit.text),
        examples=[_picture(shown) for shown in kit.examples],
        stages=sections,
        form=form,
        count=sum(task.kind != "count" for _, task in tasks.values()),
    )


def _task(name: str, task: Any) -> dict[str, Any]:
    """What the template shows of a task; never its truth."""
    hints = []
    for hint in task.hints:
        pictures = [_picture(shown) for shown in hint.pictures]
        hints.append({"title": hint.title, "pictures": pictures})
    return {
        "id": name,
        "question": task.question,
        "kind": task.kind,
        "choices": list(task.choices),
        "pictures": [_picture(shown) for shown in task.pictures],
        "hints": hints,
    }


def _picture(shown: Any) -> dict[str, Any]:
    """A picture inline, with its text."""
    pixels = gallery.rgb(shown.image)
    if shown.heat is not None:
        pixels = gallery.overlay(shown.image, shown.heat)
    return {
        "src": data_url(pixels),
        "name": shown.name,
        "caption": shown.caption,
        "small": max(pixels.shape[:2]) <= SMALL,
    }


def data_url(pixels: Array) -> str:
    """Pixels (h, w, 3) in [0, 1] as an image to put inline: exact if small, else JPEG."""
    image = Image.fromarray((255 * pixels).round().astype(np.uint8))
    small = max(image.size) <= SMALL
    buffer = io.BytesIO()
    if small:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=QUALITY)
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
