"""Names a data set in a profile's YAML, with a network to train on it; everything else stays as it is written.

    line = add_to_profile(Path("params.yaml"), "photos", 64)     # what was added, in words; "" if nothing was

Idea: the YAML is parsed for the places of its parts only; the words go into the text, so that comments, anchors and
layout stay. The result must parse to what was there, plus what was added; else nothing is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from benchmark import store
from benchmark.data.download import ParamsError

RECIPE = "epochs: 8, batch: 32, lr: 0.004, schedule: cosine, flip: true"
_FOUR_HALVINGS = 16  # pixels; the side that the network's four poolings need


def add_to_profile(file: Path, name: str, size: int) -> str:
    """Name a data set under ``datasets:``, and under ``zoo:`` a network to train on it, where they are not named yet.

    Args:
        size: side of the images in pixels.

    Returns:
        what was added, in words; empty if nothing was, or there is no such file.

    Raises:
        ParamsError: the file has not the sections of a profile, or cannot be extended.
        StoreError: it is no YAML.
    """
    if not file.exists():
        return ""
    values, text = store.read_yaml(file), file.read_text()
    expected, added = dict(values), []
    options = "" if size >= _FOUR_HALVINGS else "options: {maps: [16, 32], hidden: 0}, "
    recipe = f"{{net: cnn, {options}{RECIPE}}}"
    for section in ("datasets", "zoo"):
        if not isinstance(values.get(section), list if section == "datasets" else dict):
            raise ParamsError(
                f"{file.name} has no section {section!r}; add {name} there"
            )
    if name not in values["datasets"]:
        text = _with_item(text, name)
        expected["datasets"] = [*values["datasets"], name]
        added.append("under datasets:")
    if name not in values["zoo"]:
        text = _with_entry(text, "zoo", name, f"{{cnn: {recipe}}}")
        expected["zoo"] = {**values["zoo"], name: {"cnn": yaml.safe_load(recipe)}}
        added.append("under zoo: the network cnn, to be trained")
    known = values.get("data")
    if isinstance(known, dict) and name not in known:  # DVC asks for an entry
        text = _with_entry(text, "data", name, "{}")
        expected["data"] = {**known, name: {}}
        added.append("under data:")
    if not added:
        return ""
    if _parsed(text) != expected:
        raise ParamsError(
            f"{file.name} is laid out so that it is left alone; "
            f"add {name} under datasets:, and under zoo: {name}: {{cnn: {recipe}}}"
        )
    store.write_text(file, text)
    return f"added to {file.name}: {' and '.join(added)}"


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _section(text: str, name: str) -> yaml.Node:
    """The node of a section, with its place in the text."""
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    return next(value for key, value in root.value if key.value == name)


def _with_item(text: str, name: str) -> str:
    """The text with a name at the end of the list ``datasets``."""
    node = _section(text, "datasets")
    if not node.value:
        return _inserted(text, node.start_mark.index + 1, name)
    end = node.value[-1].end_mark.index
    if node.flow_style:
        return _inserted(text, end, f", {name}")
    return _inserted(text, end, f"\n{' ' * node.start_mark.column}- {name}")


def _with_entry(text: str, section: str, name: str, value: str) -> str:
    """The text with ``name: value`` at the top of the mapping ``section``."""
    node = _section(text, section)
    start = node.start_mark.index
    if node.flow_style:
        comma = ", " if node.value else ""
        return _inserted(text, start + 1, f"{name}: {value}{comma}")
    indent = " " * node.start_mark.column
    return _inserted(text, start, f"{name}: {value}\n{indent}")


def _inserted(text: str, place: int, words: str) -> str:
    return text[:place] + words + text[place:]
