"""Do settings fit what takes them? Names must be known, and values of the annotated types; nothing is converted.

    fit({"epochs": "many"}, hints_of(Training))        # Misfit: 'many' is not an integer, at ("epochs",)

A value is what YAML and JSON can hold. It is checked by pydantic in strict JSON mode, so that ``"3"``, ``3.0`` and ``true``
are no integers while a list fits a tuple.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from benchmark import papers, store
from benchmark.api import Method
from benchmark.data import download, scripts
from benchmark.engine.sandbox import Limits
from benchmark.methods import registry
from benchmark.methods.registry import MethodRef
from benchmark.utils.near_names import UnknownName, near, pick
from benchmark.zoo.nets import NETS
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
_LEAST = {  # of settings of methods and experiments that count or weigh something, at any depth
    **dict.fromkeys(
        (
            "K",
            "base",
            "batch",
            "clusters",
            "hidden",
            "images",
            "inputs",
            "n",
            "n_boundaries",
            "negatives",
            "per_class",
        ),
        1,
    ),
    **dict.fromkeys(
        (
            "references",
            "runs",
            "samples",
            "segments",
            "side",
            "steps",
            "test",
            "test_images",
            "test_samples",
            "train",
        ),
        1,
    ),
    **dict.fromkeys(
        (
            "alpha",
            "alphas",
            "beta",
            "epochs",
            "eta",
            "lr",
            "noise",
            "pretrain",
            "q",
            "restarts",
            "theta",
        ),
        0,
    ),
    **dict.fromkeys(("threshold", "thresholds", "weight_decay"), 0),
    "unseen": 1,
}
_NAME = "no name: letters, digits and _ . - are"  # of a folder or file


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
        Misfit: no mapping, an unknown key, or a value of another type.
    """
    if not isinstance(values, Mapping):
        raise Misfit(wrong(values, "a mapping"), *place)
    for key, value in values.items():
        if key not in takes:
            raise Misfit(near(key, takes, "key"), *place)
        fit_type(value, takes[key], *place, key)


def bounded(key: str, value: Any, *place: object) -> None:
    """Refuse counts and weights that are impossible, by the name of the setting; ``place`` is that of the value.

    Raises:
        Misfit: a number that is too small, or an empty list of them.
    """
    if isinstance(value, Mapping):
        for inner, part in value.items():
            bounded(str(inner), part, *place, inner)
    elif key in _LEAST and isinstance(value, list | tuple):
        if not value:
            raise Misfit("is empty; expected at least one number", *place)
        for i, part in enumerate(value):
            if _is_number(part) and part < _LEAST[key]:
                raise Misfit(
                    f"{part} is too small; expected at least {_LEAST[key]}", *place, i
                )
    elif key in _LEAST and _is_number(value) and value < _LEAST[key]:
        raise Misfit(f"{value} is too small; expected at least {_LEAST[key]}", *place)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def fit_type(value: Any, annotation: Any, *place: object) -> None:
    """Check one value; an annotation of ``Method`` takes a method as a profile names it."""
    if annotation is Method:
        method(value, *place)
        return
    try:
        found = _adapter(annotation).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first, *more = error.errors(include_url=False)
        inside = [part for part in first["loc"] if part != "[key]"]
        if (
            more
            and more[0]["loc"][:-1] == first["loc"][:-1]
            and more[0]["input"] is first["input"]
        ):  # of a union
            expected = " or ".join(
                _WORDS.get(one["type"].split("_")[0], one["msg"])
                for one in (first, *more)
            )
            raise Misfit(
                wrong(first["input"], expected), *place, *inside[:-1]
            ) from None
        raise Misfit(worded(first), *place, *inside) from None
    if plain(found) != value:  # a key of JSON is always text
        raise Misfit(f"{value!r} must be {plain(found)!r}", *place)


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation, config=ConfigDict(allow_inf_nan=False))


def worded(error: Mapping[str, Any]) -> str:
    """What pydantic found, in words for a user who wrote YAML."""
    kind, value = error["type"], error["input"]
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind == "missing":
        return f"{error['loc'][-1]} is missing"
    if kind == "string_pattern_mismatch":
        return f"{value!r} is {_NAME}"
    if kind in _BOUNDS:
        return f"{value!r} must be {_BOUNDS[kind].format(**error['ctx'])}"
    expected = _WORDS.get(kind.split("_")[0])
    return wrong(value, expected) if expected else f"{value!r}: {error['msg']}"


def wrong(value: Any, expected: str) -> str:
    """``'many' is not an integer``, and what YAML has to do with it."""
    if value is None:
        return f"is empty; expected {expected}"
    hint = ""
    if isinstance(value, bool) and expected == "text":
        hint = "; YAML reads yes, no, on and off as true or false: quote it"
    if (
        isinstance(value, str)
        and expected in ("a number", "an integer")
        and re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", value)
    ):
        exponent = "; YAML reads it as text: an exponent needs a point before it and a sign, as in 1.0e-3"
        hint = exponent if "e" in value.lower() else "; write it without quotes"
    return f"{repr(value)[:80]} is not {expected}{hint}"


def hints_of(cls: type) -> dict[str, Any]:
    """The annotations of a dataclass' settings, by name; of another class none."""
    known = typing.get_type_hints(cls)
    return (
        {f.name: known[f.name] for f in fields(cls) if f.init}
        if hasattr(cls, "__dataclass_fields__")
        else {}
    )


def keywords_of(
    function: Callable[..., Any], first: int | None = None
) -> dict[str, Any]:
    """The annotations of a function's keyword-only parameters (or of those from number ``first`` on); Any where it has none."""
    known, parameters = (
        typing.get_type_hints(function),
        list(inspect.signature(function).parameters.values()),
    )
    chosen = (
        [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        if first is None
        else parameters[first:]
    )
    return {p.name: known.get(p.name, Any) for p in chosen}


# --------------------------------------------------------------------------------------------- what a profile holds


def recipe(value: Any) -> Recipe:
    """The recipe of a network."""
    fit(value, hints_of(Recipe))
    try:
        found = Recipe.parse(value)
    except (UnknownName, ValueError) as error:
        inside = re.fullmatch(r"recipe: (\w+) (must be .*)", str(error))
        raise (
            Misfit(inside[2], inside[1])
            if inside
            else Misfit(str(error).removeprefix("recipe: "))
        ) from None
    fit(found.options, keywords_of(NETS[found.net].build, 2), "options")
    if len(set(found.seeds)) < len(found.seeds):
        raise Misfit(f"{list(found.seeds)} names a seed twice", "seeds")
    return found


def limits(value: Any) -> Limits:
    """The limits of a process."""
    fit(value, hints_of(Limits))
    for key, number in value.items():
        if not number > 0:
            raise Misfit(f"{number!r} must be above 0", key)
    return Limits(**value)


def method(value: Any, *place: object) -> MethodRef:
    """A method as a profile names it. Those of the project are built, so that class and settings are known to fit; another
    file is opened where it runs, in a process of its own."""
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
            cls = getattr(registry.load_module(ref.path), ref.cls, None)
            if inspect.isclass(cls):
                fit(ref.settings, hints_of(cls), *place)
                for key, setting in ref.settings.items():
                    bounded(key, setting, *place, key)
            ref.build()
    except Misfit:
        raise
    except (UnknownName, ValueError, TypeError, AttributeError) as error:
        raise Misfit(error, *place) from None
    return ref


def defaults_of(dataset: str) -> dict[str, Any] | None:
    """The ``DEFAULTS`` of a data set's script, which is read and never run; None of a folder of images, which has none."""
    return scripts.literals(store.ROOT / "datasets" / f"{dataset}.py").get("DEFAULTS")


def parameters(dataset: str, section: Mapping[str, Any]) -> None:
    """Check ``data.<dataset>`` of a profile against the defaults of its script."""
    if (defaults := defaults_of(dataset)) is not None:
        try:
            download.check_params(section, defaults, f"data.{dataset}")
        except (UnknownName, download.ParamsError) as error:
            raise Misfit(error) from None


def experiments(paper: str) -> dict[str, Callable[..., Any]]:
    """The experiments of a paper, by name: the functions ``f(study, rng, *, ...)`` of its ``replicate.py``."""
    module = papers.part(paper, "replicate")
    own = {
        name: f
        for name, f in (vars(module).items() if module else ())
        if inspect.isfunction(f) and f.__module__ == module.__name__
    }
    return {
        name: f
        for name, f in own.items()
        if list(inspect.signature(f).parameters)[:2] == ["study", "rng"]
    }


def experiment(paper: str, name: str) -> Callable[..., Any]:
    """The function of a paper's experiment.

    Raises:
        UnknownName: no such paper or experiment.
    """
    return pick(name, experiments(paper), f"experiment of {paper}")


def experiment_settings(
    paper: str, name: str, settings: Mapping[str, Any], sweep: Mapping[str, Any]
) -> None:
    """Check the settings of an experiment, and every swept value, against its keyword-only parameters."""
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
    for parameter in inspect.signature(function).parameters.values():
        name = parameter.name
        if (
            name in takes
            and parameter.default is parameter.empty
            and name not in {*settings, *sweep}
        ):
            raise Misfit(f"{name} is missing")


def _setting(
    paper: str, key: str, value: Any, takes: Mapping[str, Any], *place: object
) -> None:
    """One setting of an experiment; nested ones are those that the paper's ``settings.py`` names."""
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
    """Settings of a dataclass, or of a method that the experiment itself names."""
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
    elif (isinstance(value, str) and ".py:" in value) or (
        isinstance(value, Mapping) and "use" in value
    ):
        method(value, *where)
