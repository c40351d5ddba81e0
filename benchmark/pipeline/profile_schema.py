"""The JSON Schema of a profile, for editors that complete and check YAML: ``docs/profile.schema.json``.

    python -m benchmark.pipeline.profile_schema > docs/profile.schema.json

It says what a key may hold; what fits together (a network that an experiment names, say) is ``Profile``'s to check.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from benchmark import papers, store
from benchmark.api import Method
from benchmark.engine.sandbox import Limits
from benchmark.methods import registry
from benchmark.methods.registry import MethodRef
from benchmark.pipeline import settings
from benchmark.pipeline.profile import Profile
from benchmark.zoo.nets import NETS
from benchmark.zoo.recipe import (
    _NUMBERS,
    DEFAULT_LR,
    NORMALISE,
    PRETRAINED,
    SCHEDULES,
    Recipe,
)

Schema = dict[str, Any]
_NAMES: Schema = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
}
_CHOICES = {
    "net": NETS,
    "optimiser": DEFAULT_LR,
    "schedule": SCHEDULES,
    "normalise": NORMALISE,
    "pretrained": PRETRAINED,
}


def schema() -> Schema:
    """The schema, as plain data."""
    whole = Profile.model_json_schema(by_alias=True)
    own, definitions = whole["properties"], whole["$defs"]
    del own["evaluation"], definitions["Experiment"]
    definitions["Recipe"] = _recipe()
    definitions["Method"] = _method()
    definitions |= _nested()
    for part in ("Explain", "Only"):
        definitions[part]["properties"]["methods"]["items"] = {"$ref": "#/$defs/Method"}
    definitions["Explain"]["properties"]["limits"] = _object(settings.hints_of(Limits))
    own["data"] = _data()
    own["replicate"] = _closed(
        {
            paper: {"type": "array", "items": _experiments(paper)}
            for paper in papers.names()
        }
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A profile",
        **_bare(whole),
    }


def _bare(part: Any) -> Any:
    """Without the titles that pydantic makes of names, and the defaults that stand for a key that is not there."""
    if isinstance(part, list):
        return [_bare(item) for item in part]
    if not isinstance(part, dict):
        return part
    made = {key for key in ("title", "default") if not isinstance(part.get(key), dict)}
    return {key: _bare(value) for key, value in part.items() if key not in made}


def _closed(properties: Mapping[str, Any], *required: str) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _object(takes: Mapping[str, Any]) -> Schema:
    return _closed({name: _type(annotation) for name, annotation in takes.items()})


def _type(annotation: Any) -> Schema:
    return (
        {"$ref": "#/$defs/Method"}
        if annotation is Method
        else TypeAdapter(annotation).json_schema()
    )


def _recipe() -> Schema:
    found = _object(settings.hints_of(Recipe)) | {"required": ["net", "epochs"]}
    for name, choices in _CHOICES.items():
        found["properties"][name] = {
            "enum": [*choices, *([None] if name in ("normalise", "pretrained") else [])]
        }
    for name, _, low, high in _NUMBERS:
        found["properties"][name] |= {"minimum": low, "maximum": high}
    return found


def _method() -> Schema:
    """Text, or ``use`` with settings; those of the project's own methods are known."""
    known = [f"{ref.file}:{ref.cls}" for ref in registry.method_refs()]
    use = {"anyOf": [{"enum": known}, {"type": "string"}]}
    rules = [
        {
            "if": {"properties": {"use": {"const": name}}},
            "then": _settings_of(name, use),
        }
        for name in known
    ]
    entry = {
        "type": "object",
        "properties": {"use": use},
        "required": ["use"],
        "allOf": rules,
    }
    return {"anyOf": [*use["anyOf"], entry]}


def _settings_of(name: str, use: Schema | None = None) -> Schema:
    ref = MethodRef.parse(name)
    found = _object(settings.hints_of(getattr(registry.load_module(ref.path), ref.cls)))
    return found | {
        "properties": {**({"use": use} if use else {}), **found["properties"]}
    }


def _data() -> Schema:
    """The parameters of each data set that is shipped; of another, whatever it takes."""
    scripts = sorted(path.stem for path in (store.ROOT / "datasets").glob("*.py"))
    defaults = {
        name: known
        for name in scripts
        if (known := settings.defaults_of(name)) is not None
    }
    known = {
        name: _closed({key: _parameter(value) for key, value in found.items()})
        for name, found in defaults.items()
    }
    return {
        "type": "object",
        "properties": known,
        "additionalProperties": {"type": "object"},
    }


def _parameter(default: Any) -> Schema:
    if isinstance(default, str):
        return {"type": "string"}
    return {"type": ["integer", "null"] if default is None else "integer", "minimum": 1}


def _experiments(paper: str) -> Schema:
    return {"anyOf": [_experiment(paper, name) for name in settings.experiments(paper)]}


def _experiment(paper: str, name: str) -> Schema:
    function = settings.experiments(paper)[name]
    takes = {
        key: _setting(paper, key, annotation)
        for key, annotation in settings.keywords_of(function).items()
    }
    sweep = _closed(
        {key: {"type": "array", "items": taken} for key, taken in takes.items()}
    )
    seeds = {"type": "array", "items": {"type": "integer", "minimum": 0}}
    own = {
        "experiment": {"const": name},
        "dataset": _NAMES,
        "target": _NAMES,
        "seeds": seeds,
        "sweep": sweep,
    }
    return _closed({**own, **takes}, "experiment") | {
        "description": (function.__doc__ or "").strip().partition("\n")[0]
    }


def _setting(paper: str, key: str, annotation: Any) -> Schema:
    module = papers.part(paper, "settings")
    inner = module.NESTED.get(key) if module else None
    if inner is None:
        return _type(annotation)
    return {"anyOf": [{"$ref": f"#/$defs/{_title(paper, inner)}"}, {"type": "null"}]}


def _nested() -> Schema:
    """What the mappings among experiments' settings are settings of."""
    found = {}
    for paper in papers.names():
        module = papers.part(paper, "settings")
        for inner in module.NESTED.values() if module else ():
            found[_title(paper, inner)] = (
                _settings_of(inner)
                if isinstance(inner, str)
                else _object(settings.hints_of(inner))
            )
    return found


def _title(paper: str, inner: type | str) -> str:
    return f"{paper}.{inner.rpartition(':')[2] if isinstance(inner, str) else inner.__name__}"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(schema(), indent=1) + "\n")
