"""Checks settings against what takes them: names must be known, and values of the annotated types.

    fit({"epochs": "many"}, hints_of(Training))        # Misfit: 'many' is not an integer, at ("epochs",)

A value is what YAML and JSON can hold. It is checked by pydantic in strict JSON mode, so that ``"3"``, ``3.0`` and
``true`` are not integers, while a list fits a tuple. Nothing is converted.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from benchmark import papers
from benchmark.api import Method
from benchmark.data import download
from benchmark.engine.sandbox import Limits
from benchmark.methods import registry
from benchmark.methods.metric_refs import MetricRef
from benchmark.methods.registry import MethodRef
from benchmark.store import data_scripts as scripts
from benchmark.utils.near_names import UnknownName, near, pick
from benchmark.zoo import hub
from benchmark.zoo.nets import NETS
from benchmark.zoo.own import OwnNetwork
from benchmark.zoo.recipe import Recipe

_WORDS = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "finite": "a finite number",
    "list": "a list",
    "tuple": "a list",
    "sequence": "a list",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "a mapping",
}
_BOUNDS = {
    "greater_than_equal": "at least {ge:g}",
    "greater_than": "above {gt:g}",
    "less_than_equal": "at most {le:g}",
}
_AT_LEAST_ONE = """
    K base batch clusters hidden images inputs n n_boundaries negatives per_class references runs samples segments side
    steps test test_images test_samples train unseen
"""
_AT_LEAST_ZERO = """
    alpha alphas beta epochs eta lr noise pretrain q restarts theta threshold thresholds weight_decay
"""
# The least value of settings of methods and experiments that count or weigh something, at any depth.
_LEAST = dict.fromkeys(_AT_LEAST_ONE.split(), 1) | dict.fromkeys(
    _AT_LEAST_ZERO.split(), 0
)
_MAY_BE_EMPTY = {"hidden"}  # a network without hidden layers
_NAME = "not a name: use letters, digits and _ . -"  # of a folder or file


class Misfit(ValueError):
    """A value that does not fit, and its place inside the value that was checked."""

    def __init__(self, text: object, *place: object) -> None:
        super().__init__(str(text))
        self.place = place


# --------------------------------------------------------------------------------------------- values and their types


def plain(value: Any, *place: object) -> Any:
    """A copy of dicts, lists, text, numbers, booleans and None; a tuple becomes a list.

    Raises:
        Misfit: anything else, which YAML or JSON could not hold.
    """
    if isinstance(value, Mapping):
        return {key: plain(item, *place, key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, *place, i) for i, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise Misfit(f"{value} is not a finite number", *place)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    hint = "; YAML reads it as a date: quote it" if hasattr(value, "isoformat") else ""
    raise Misfit(
        f"{str(value)[:60]!r} is neither text nor a number, list or mapping{hint}",
        *place,
    )


def fit(values: Any, takes: Mapping[str, Any], *place: object) -> None:
    """Check a mapping of settings against the annotations of what takes them.

    Raises:
        Misfit: not a mapping, an unknown key, or a value of another type.
    """
    if not isinstance(values, Mapping):
        raise Misfit(wrong(values, "a mapping"), *place)
    for key, value in values.items():
        if key not in takes:
            raise Misfit(near(key, takes, "key"), *place)
        fit_type(value, takes[key], *place, key)


def bounded(key: str, value: Any, *place: object) -> None:
    """Refuse impossible counts and weights, by the name of the setting; ``place`` is that of the value.

    Raises:
        Misfit: a number that is too small, or an empty list of them.
    """
    if isinstance(value, Mapping):
        for inner, part in value.items():
            bounded(str(inner), part, *place, inner)
    elif key in _LEAST and isinstance(value, list | tuple):
        if not value and key not in _MAY_BE_EMPTY:
            raise Misfit("is empty; expected at least one number", *place)
        for i, part in enumerate(value):
            _refuse_too_small(part, _LEAST[key], *place, i)
    elif key in _LEAST:
        _refuse_too_small(value, _LEAST[key], *place)


def _refuse_too_small(value: Any, least: int, *place: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if value < least:
        raise Misfit(f"{value} is too small; expected at least {least}", *place)


def fit_type(value: Any, annotation: Any, *place: object) -> None:
    """Check one value; an annotation of ``Method`` takes a method as a profile names it."""
    if annotation is Method:
        method(value, *place)
        return
    try:
        found = _adapter(annotation).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise _misfit(error, place) from None
    if plain(found) != value:  # a key of JSON is always text
        raise Misfit(f"{value!r} must be {plain(found)!r}", *place)


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation, config=ConfigDict(allow_inf_nan=False))


def _misfit(error: ValidationError, place: tuple[object, ...]) -> Misfit:
    """The first thing that pydantic found wrong; of a union, all that it would take."""
    errors = error.errors(include_url=False)
    first = errors[0]
    inside = [part for part in first["loc"] if part != "[key]"]
    in_union = len(errors) > 1 and _is_union(first, errors[1])
    if not in_union:
        return Misfit(worded(first), *place, *inside)
    expected = [_expected(one) or one["msg"] for one in errors]
    text = wrong(first["input"], " or ".join(expected))
    return Misfit(text, *place, *inside[:-1])  # without the member of the union


def _is_union(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Are these errors of two members of a union, about the same value?"""
    place = first["loc"][:-1]
    if place != second["loc"][:-1]:
        return False
    return first["input"] is second["input"]


def _expected(error: Mapping[str, Any]) -> str:
    """What pydantic expected, in plain words; empty if there are none."""
    kind, *_ = error["type"].split("_")
    return _WORDS.get(kind, "")


def worded(error: Mapping[str, Any]) -> str:
    """An error of pydantic, in words for a user who wrote YAML."""
    kind, value = error["type"], error["input"]
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind == "missing":
        return f"{error['loc'][-1]} is missing"
    if kind == "string_pattern_mismatch":
        return f"{value!r} is {_NAME}"
    if kind in _BOUNDS:
        return f"{value!r} must be {_BOUNDS[kind].format(**error['ctx'])}"
    if kind == "literal_error":
        return f"{value!r} must be {error['ctx']['expected']}"
    expected = _expected(error)
    return wrong(value, expected) if expected else f"{value!r}: {error['msg']}"


def wrong(value: Any, expected: str) -> str:
    """``'many' is not an integer``, with a hint where YAML may have misled the user."""
    if value is None:
        return f"is empty; expected {expected}"
    return f"{repr(value)[:80]} is not {expected}{_yaml_hint(value, expected)}"


def _yaml_hint(value: Any, expected: str) -> str:
    if isinstance(value, bool) and expected == "text":
        return "; YAML reads yes, no, on and off as true or false: quote it"
    if not isinstance(value, str) or expected not in ("a number", "an integer"):
        return ""
    if not re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", value):
        return ""
    if "e" in value.lower():
        return "; YAML reads it as text: an exponent needs a point before it and a sign, as in 1.0e-3"
    return "; write it without quotes"


def hints_of(cls: type) -> dict[str, Any]:
    """The annotations of a dataclass' settings, by name; of another class none."""
    known = typing.get_type_hints(cls)
    if not is_dataclass(cls):
        return {}
    return {field.name: known[field.name] for field in fields(cls) if field.init}


def keywords_of(
    function: Callable[..., Any], first: int | None = None
) -> dict[str, Any]:
    """The annotations of a function's keyword-only parameters, by name; Any for one without.

    Args:
        first: take the parameters from this number on instead.
    """
    known = typing.get_type_hints(function)
    parameters = list(inspect.signature(function).parameters.values())
    chosen = parameters[first:]
    if first is None:
        chosen = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    return {p.name: known.get(p.name, Any) for p in chosen}


# --------------------------------------------------------------------------------------------- what a profile holds


def network(value: Any) -> Recipe | OwnNetwork:
    """The recipe of a network, or a network of one's own (``use``), checked."""
    if not isinstance(value, Mapping) or "use" not in value:
        return recipe(value)
    fit(value, hints_of(OwnNetwork))
    try:
        return OwnNetwork.parse(hub.by_name(value))
    except (UnknownName, ValueError) as error:
        raise Misfit(error) from None


def recipe(value: Any) -> Recipe:
    """The recipe of a network, checked."""
    fit(value, hints_of(Recipe))
    try:
        found = Recipe.parse(value)
    except (UnknownName, ValueError) as error:
        about_a_key = re.fullmatch(r"recipe: (\w+) (must be .*)", str(error))
        if about_a_key:
            key, text = about_a_key.groups()
            raise Misfit(text, key) from None
        raise Misfit(str(error).removeprefix("recipe: ")) from None
    fit(found.options, keywords_of(NETS[found.net].build, 2), "options")
    if len(set(found.seeds)) < len(found.seeds):
        raise Misfit(f"{list(found.seeds)} names a seed twice", "seeds")
    return found


def limits(value: Any) -> Limits:
    """The limits of a process, checked."""
    fit(value, hints_of(Limits))
    for key, number in value.items():
        if not number > 0:
            raise Misfit(f"{number!r} must be above 0", key)
    return Limits(**value)


def method(value: Any, *place: object) -> MethodRef:
    """A method as a profile names it, checked.

    A method of this project is built, so that class and settings are known to fit. An external file is opened only
    where it runs, in a process of its own.
    """
    if not isinstance(value, str | Mapping):
        raise Misfit(
            wrong(
                value, "a method, path/to/file.py:ClassName or {use: ..., setting: ...}"
            ),
            *place,
        )
    if isinstance(value, Mapping) and not isinstance(value.get("use"), str):
        raise Misfit("a method needs use: path/to/file.py:ClassName", *place)
    try:
        ref = MethodRef.parse(value)
        if ref.own:
            _check_own(ref, place)
    except Misfit:
        raise
    except (UnknownName, ValueError, TypeError, AttributeError) as error:
        raise Misfit(error, *place) from None
    return ref


def _check_own(ref: MethodRef, place: tuple[object, ...]) -> None:
    cls = getattr(registry.load_module(ref.path), ref.cls, None)
    if inspect.isclass(cls):
        fit(ref.settings, hints_of(cls), *place)
        for key, setting in ref.settings.items():
            bounded(key, setting, *place, key)
    ref.build()


def metric(value: Any) -> MetricRef:
    """A metric of the user as a profile names it; its file is opened only where it runs."""
    if not isinstance(value, str | Mapping):
        raise Misfit(wrong(value, "a metric, path/to/file.py:function"))
    try:
        return MetricRef.parse(value)
    except UnknownName as error:
        raise Misfit(error) from None


def defaults_of(dataset: str) -> dict[str, Any] | None:
    """The ``DEFAULTS`` of a data set's script, which is parsed and never run; None for a folder of images."""
    script = scripts.known().get(dataset, Path())
    return scripts.literals(script).get("DEFAULTS")


def parameters(dataset: str, section: Mapping[str, Any]) -> None:
    """Check ``data.<dataset>`` of a profile against the defaults of its script.

    Raises:
        Misfit: they do not fit.
    """
    defaults = defaults_of(dataset)
    if defaults is None:
        return
    try:
        download.check_params(section, defaults, f"data.{dataset}")
    except (UnknownName, download.ParamsError) as error:
        raise Misfit(error) from None


def experiments(paper: str) -> dict[str, Callable[..., Any]]:
    """The experiments of a paper, by name: the functions ``f(study, rng, *, ...)`` of its ``replicate.py``."""
    module = papers.part(paper, "replicate")
    found = {}
    for name, value in vars(module).items() if module else ():
        if inspect.isfunction(value) and value.__module__ == module.__name__:
            first_two = list(inspect.signature(value).parameters)[:2]
            if first_two == ["study", "rng"]:
                found[name] = value
    return found


def experiment(paper: str, name: str) -> Callable[..., Any]:
    """The function of a paper's experiment.

    Raises:
        UnknownName: no such paper or experiment.
    """
    known = experiments(paper)
    return pick(name, known, f"experiment of {paper}")


def experiment_settings(
    paper: str, name: str, settings: Mapping[str, Any], sweep: Mapping[str, Any]
) -> None:
    """Check the settings of an experiment, and every swept value, against its keyword-only parameters.

    Raises:
        Misfit: an unknown experiment or setting, a value that does not fit, or a setting that is missing.
    """
    try:
        function = experiment(paper, name)
    except UnknownName as error:
        raise Misfit(error, "experiment") from None
    takes = keywords_of(function)
    for key, value in settings.items():
        if key in sweep:
            raise Misfit(f"{key} is set beside it", "sweep", key)
        _setting(paper, key, value, takes)
    for key, values in sweep.items():
        for i, value in enumerate(values):
            _setting(paper, key, value, takes, "sweep", i)
    given = {*settings, *sweep}
    for parameter in inspect.signature(function).parameters.values():
        is_required = parameter.name in takes and parameter.default is parameter.empty
        if is_required and parameter.name not in given:
            raise Misfit(f"{parameter.name} is missing")


def _setting(
    paper: str, key: str, value: Any, takes: Mapping[str, Any], *place: object
) -> None:
    """Check one setting of an experiment; the paper's ``settings.py`` says which of them are nested."""
    where = (place[0], key, place[1]) if place else (key,)
    if key not in takes:
        raise Misfit(near(key, takes, "key"), *place[:1])
    fit_type(value, takes[key], *where)
    bounded(key, value, *where)
    module = papers.part(paper, "settings")
    inner = module.NESTED.get(key) if module else None
    if inner is not None and value is not None:
        _nested(value, inner, where)
    elif inner is None:
        _methods_in(value, where)


def _nested(
    value: Mapping[str, Any], inner: type | str, where: tuple[object, ...]
) -> None:
    """Check the settings of a dataclass, or of a method that the experiment itself names."""
    if isinstance(inner, str):
        method({"use": inner, **value}, *where)
        return
    fit(value, hints_of(inner), *where)
    try:
        inner(**value)
    except ValueError as error:
        raise Misfit(error, *where) from None


def _methods_in(value: Any, where: tuple[object, ...]) -> None:
    """Check whatever names a method among a setting's values."""
    if isinstance(value, list):
        for i, item in enumerate(value):
            _methods_in(item, (*where, i))
        return
    in_text = isinstance(value, str) and ".py:" in value
    in_mapping = isinstance(value, Mapping) and "use" in value
    if in_text or in_mapping:
        method(value, *where)
