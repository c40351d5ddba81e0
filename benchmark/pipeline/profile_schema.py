"""The JSON Schema of a profile, for editors that complete and check YAML: ``docs/profile.schema.json``.

    python -m benchmark.pipeline.profile_schema > docs/profile.schema.json

It says what each key may hold. Whether the parts fit together (say, a network that an experiment names) is checked by
``Profile``.
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
    experiments = {paper: _list_of(_experiments(paper)) for paper in papers.names()}
    own["replicate"] = _closed(experiments)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A profile",
        **_bare(whole),
    }


def _bare(part: Any) -> Any:
    """Without the titles that pydantic makes of names, and the defaults of missing keys."""
    if isinstance(part, list):
        return [_bare(item) for item in part]
    if not isinstance(part, dict):
        return part
    # A mapping under one of these names is a property of that name.
    dropped = [
        key for key in ("title", "default") if not isinstance(part.get(key), dict)
    ]
    return {key: _bare(value) for key, value in part.items() if key not in dropped}


def _list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


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
    if annotation is Method:
        return {"$ref": "#/$defs/Method"}
    return TypeAdapter(annotation).json_schema()


def _recipe() -> Schema:
    found = _object(settings.hints_of(Recipe)) | {"required": ["net", "epochs"]}
    properties = found["properties"]
    for name, choices in _CHOICES.items():
        allowed = list(choices)
        if name in ("normalise", "pretrained"):
            allowed.append(None)
        properties[name] = {"enum": allowed}
    for name, _, low, high in _NUMBERS:
        properties[name] |= {"minimum": low, "maximum": high}
    return found


def _method() -> Schema:
    """Text, or ``use`` with settings; those of this project's methods are known."""
    known = [f"{ref.file}:{ref.cls}" for ref in registry.method_refs()]
    use = {"anyOf": [{"enum": known}, {"type": "string"}]}
    rules = []
    for name in known:
        is_this = {"properties": {"use": {"const": name}}}
        rules.append({"if": is_this, "then": _settings_of(name, use=use)})
    entry = {
        "type": "object",
        "properties": {"use": use},
        "required": ["use"],
        "allOf": rules,
    }
    return {"anyOf": [*use["anyOf"], entry]}


def _settings_of(name: str, **more: Schema) -> Schema:
    """The settings of a method, after ``more`` properties."""
    ref = MethodRef.parse(name)
    module = registry.load_module(ref.path)
    found = _object(settings.hints_of(getattr(module, ref.cls)))
    found["properties"] = more | found["properties"]
    return found


def _data() -> Schema:
    """The parameters of each data set that is shipped; of another one, whatever it takes."""
    known = {}
    for name in sorted(path.stem for path in (store.ROOT / "datasets").glob("*.py")):
        defaults = settings.defaults_of(name)
        if defaults is not None:
            parameters = {key: _parameter(value) for key, value in defaults.items()}
            known[name] = _closed(parameters)
    return {
        "type": "object",
        "properties": known,
        "additionalProperties": {"type": "object"},
    }


def _parameter(default: Any) -> Schema:
    if isinstance(default, str):
        return {"type": "string"}
    kind = ["integer", "null"] if default is None else "integer"
    return {"type": kind, "minimum": 1}


def _experiments(paper: str) -> Schema:
    return {"anyOf": [_experiment(paper, name) for name in settings.experiments(paper)]}


def _experiment(paper: str, name: str) -> Schema:
    function = settings.experiments(paper)[name]
    keywords = settings.keywords_of(function)
    takes = {
        key: _setting(paper, key, annotation) for key, annotation in keywords.items()
    }
    own = {
        "experiment": {"const": name},
        "dataset": _NAMES,
        "target": _NAMES,
        "seeds": _list_of({"type": "integer", "minimum": 0}),
        "sweep": _closed({key: _list_of(taken) for key, taken in takes.items()}),
    }
    found = _closed({**own, **takes}, "experiment")
    first_line, _, _ = (function.__doc__ or "").strip().partition("\n")
    return found | {"description": first_line}


def _setting(paper: str, key: str, annotation: Any) -> Schema:
    module = papers.part(paper, "settings")
    inner = module.NESTED.get(key) if module else None
    if inner is None:
        return _type(annotation)
    return {"anyOf": [{"$ref": f"#/$defs/{_title(paper, inner)}"}, {"type": "null"}]}


def _nested() -> Schema:
    """The classes whose settings are mappings among the settings of experiments."""
    found = {}
    for paper in papers.names():
        module = papers.part(paper, "settings")
        for inner in module.NESTED.values() if module else ():
            is_method = isinstance(inner, str)
            takes = (
                _settings_of(inner) if is_method else _object(settings.hints_of(inner))
            )
            found[_title(paper, inner)] = takes
    return found


def _title(paper: str, inner: type | str) -> str:
    if isinstance(inner, str):
        _, _, name = inner.rpartition(":")
        return f"{paper}.{name}"
    return f"{paper}.{inner.__name__}"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(schema(), indent=1) + "\n")
