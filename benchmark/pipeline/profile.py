"""A profile: what is prepared, trained, explained and replicated. Built once, checked whole, never changed.

    profile = Profile.read("params.yaml")
    profile.explained("digits").images
    for target, seed, recipe in profile.trainings("digits"): ...

Everything in a profile is checked while it is built, before any work: unknown keys (a similar one is suggested), types,
values, files, and whether the parts fit together. Its JSON Schema is ``docs/profile.schema.json`` (``profile_schema``).
"""

from __future__ import annotations

import fnmatch
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlencode

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
    model_validator,
)

from benchmark import papers, store
from benchmark.engine.sandbox import Limits
from benchmark.methods.metric_refs import MetricRef
from benchmark.methods.registry import MethodRef
from benchmark.pipeline import settings
from benchmark.pipeline.settings import Misfit
from benchmark.store import data_scripts as scripts
from benchmark.utils.near_names import ProfileError, near
from benchmark.zoo.own import OwnNetwork
from benchmark.zoo.recipe import Recipe, mapping_of


def _parameter(value: Any) -> int | str | None:
    if value is None or type(value) in (int, str):
        return value
    raise Misfit(settings.wrong(value, "an integer, text or null"))


def _listed(value: Any) -> Any:
    """One name, or a list of names."""
    return (value,) if isinstance(value, str) else value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Name = Annotated[str, StringConstraints(pattern=r"^\w[\w.-]*$")]  # of a folder or file
AsTuple = BeforeValidator(_tuple)
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Method = Annotated[
    MethodRef,
    PlainValidator(settings.method, json_schema_input_type=str | dict[str, Any]),
]
Methods = Annotated[tuple[Method, ...], AsTuple]
Metric = Annotated[
    MetricRef,
    PlainValidator(settings.metric, json_schema_input_type=str | dict[str, Any]),
]
Names = Annotated[tuple[Name, ...], AsTuple]


_ONLY = "data set in datasets:, or network as dataset/network:"
_SECTIONS = ("profile", "datasets", "papers", "data", "zoo", "explain", "replicate")


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
    )


class Again(_Part):
    """What metrics that call a method again are computed on.

    Attributes:
        images: of the explained images, at most; 0: these metrics are left out.
        seeds: networks of these seeds (None: all).
        refits: other networks that a method which learns from the reference images may be fitted on.
    """

    images: Annotated[int, Field(ge=0)] = 8
    seeds: Annotated[tuple[Seed, ...], AsTuple] | None = None
    refits: Annotated[int, Field(ge=0)] = 16

    def on(self, seed: int) -> bool:
        """Is a network of this seed among them?"""
        return self.seeds is None or seed in self.seeds


class Only(_Part):
    """What differs in the explanations of one data set, or of one network; what it leaves out is as for the others."""

    images: Count = 0
    reference: Count = 0
    methods: Methods = ()
    again: Again = Again()


class Explain(_Part):
    """What is explained: ``images`` test images by each method, fitted on ``reference`` training images."""

    images: Count
    reference: Count
    methods: Methods
    limits: Annotated[
        Limits, PlainValidator(settings.limits, json_schema_input_type=dict[str, float])
    ] = Limits()
    again: Again = Again()
    only: Mapping[str, Only] = {}
    # of the user, beside those of this project
    metrics: Annotated[tuple[Metric, ...], AsTuple] = ()


class Experiment(_Part):
    """An entry of ``replicate``: an experiment of a paper, on the networks that ``target`` patterns name.

    It runs for each network, seed (None: those of the network's recipe, else 0) and combination of swept values.
    """

    experiment: str
    dataset: Annotated[tuple[Name, ...], BeforeValidator(_listed), AsTuple] = ()
    target: Annotated[tuple[str, ...], BeforeValidator(_listed), AsTuple] = ()
    seeds: Annotated[tuple[Seed, ...], AsTuple] | None = None
    sweep: Mapping[str, Annotated[tuple[Any, ...], AsTuple]] = {}
    settings: Mapping[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, entry: Any) -> Any:
        """Every key that is not the entry's own is a setting."""
        if not isinstance(entry, Mapping):
            return entry
        own = cls.model_fields.keys() - {"settings"}
        if "seeds" in entry and entry["seeds"] is None:
            raise Misfit(settings.wrong(None, "a list"), "seeds")
        found = {key: value for key, value in entry.items() if key in own}
        found["settings"] = {
            key: value for key, value in entry.items() if key not in own
        }
        return found

    def swept(self) -> Iterator[dict[str, Any]]:
        """The settings of each combination of swept values."""
        for values in itertools.product(*self.sweep.values()):
            chosen = dict(zip(self.sweep, values, strict=True))
            yield {**self.settings, **chosen}


class Profile(_Part):
    """A profile, checked. ``Profile.parse`` and ``Profile.read`` build one; ``replace`` gives a changed copy."""

    name: Name = Field(alias="profile")
    datasets: Names
    papers: Names
    data: Mapping[
        str,
        Mapping[
            str,
            Annotated[
                Any, PlainValidator(_parameter, json_schema_input_type=int | str | None)
            ],
        ],
    ]
    zoo: Mapping[
        str,
        Mapping[
            Name,
            Annotated[
                Recipe | OwnNetwork,
                PlainValidator(
                    settings.network, json_schema_input_type=Recipe | OwnNetwork
                ),
            ],
        ],
    ]
    explain: Explain
    replicate: Mapping[str, Annotated[tuple[Experiment, ...], AsTuple]]
    # Folder below results/ of an evaluation on this profile's networks; not a key of the YAML.
    evaluation: str = ""

    @classmethod
    def parse(cls, mapping: Mapping[str, Any], source: str = "params.yaml") -> Self:
        """The profile of a mapping, as read from YAML; ``source`` is named in errors.

        Raises:
            ProfileError: one line with the source, the place, and what is wrong there.
        """
        try:
            values = settings.plain(mapping)
            _check_sections(values)
            found = cls.model_validate(values)
            found._check()
        except ValidationError as error:
            raise _first(error, source) from None
        except Misfit as error:
            raise profile_error(source, error) from None
        except RecursionError:
            raise ProfileError(f"{source}: nested too deeply, or in itself") from None
        return found

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The profile of a YAML file.

        Raises:
            ProfileError: a wrong profile. StoreError: a file that is missing, or not YAML.
        """
        path = Path(path)
        with store.reading(path, "restore it with `glassbench use offline`"):
            loader = yaml.SafeLoader(path.read_text())
            node = loader.get_single_node()
            twice = next(_twice(node, set()), "") if node else ""
            values = loader.construct_document(node) if node else None
            if not isinstance(values, dict):
                raise ValueError("not a mapping")
        if twice:
            raise ProfileError(f"{path.name}: {twice}")
        return cls.parse(values, path.name)

    @classmethod
    def of(cls, profile: Profile | Mapping[str, Any]) -> Profile:
        """A profile, which is returned as it is, or the profile of a mapping."""
        return (
            profile if isinstance(profile, Profile) else cls.parse(profile, "profile")
        )

    def replace(self, **changes: Any) -> Self:
        """A copy with other values for some fields, which are not checked."""
        for key in changes:
            if key not in type(self).model_fields:
                raise near(key, type(self).model_fields, "field of a profile")
        return self.model_copy(update=changes)

    def with_networks(self, names: Sequence[str]) -> Self:
        """The profile with only those of its explained networks that ``names`` name.

        Args:
            names: ``digits/cnn``, ``digits`` or ``cnn``; all explained networks if empty.

        Raises:
            UnknownName: a name that no network has.
        """
        known: set[str] = set()
        zoo: dict[str, dict[str, Recipe | OwnNetwork]] = {}
        for dataset, recipes in self.zoo.items():
            for target, recipe in recipes.items():
                if not recipe.explain:
                    continue
                own = {f"{dataset}/{target}", dataset, target}
                known |= own
                if not names or own & set(names):
                    zoo.setdefault(dataset, {})[target] = recipe
        for name in names:
            if name not in known:
                raise near(name, known, f"network in profile {self.name!r}:")
        datasets = tuple(dataset for dataset in self.datasets if dataset in zoo)
        return self.replace(zoo=zoo, datasets=datasets)

    def with_methods(self, refs: Sequence[MethodRef], *, keep: bool = False) -> Self:
        """The profile with these methods instead of its own, or with ``keep`` in addition to them."""

        def chosen(explain: Explain | Only) -> tuple[MethodRef, ...]:
            kept = [ref for ref in explain.methods if keep and not ref.is_among(refs)]
            return (*kept, *refs)

        only = dict(self.explain.only)
        for dataset, other in only.items():
            if "methods" in other.model_fields_set:
                only[dataset] = other.model_copy(update={"methods": chosen(other)})
        changes = {"methods": chosen(self.explain), "only": only}
        return self.replace(explain=self.explain.model_copy(update=changes))

    def with_metrics(self, refs: Sequence[MetricRef]) -> Self:
        """The profile with these metrics in addition to its own."""
        every = list(self.explain.metrics)
        every += [ref for ref in refs if ref not in every]
        changes = {"metrics": tuple(every)}
        return self.replace(explain=self.explain.model_copy(update=changes))

    def trainings(self, dataset: str) -> list[tuple[str, int, Recipe | OwnNetwork]]:
        """(target, seed, recipe) of a data set's networks, in the profile's order."""
        found = []
        for name, recipe in self.zoo.get(dataset, {}).items():
            found += [(name, seed, recipe) for seed in recipe.seeds]
        return found

    def explained(self, dataset: str, target: str = "") -> Explain:
        """What is explained of a data set, or of one of its networks: ``explain`` with the changes of ``only``."""
        changes: dict[str, Any] = {}
        for name in (dataset, f"{dataset}/{target}"):
            other = self.explain.only.get(name, Only())
            changes |= {key: getattr(other, key) for key in other.model_fields_set}
        return self.explain.model_copy(update=changes | {"only": {}})

    def networks(self, entry: Experiment) -> Iterator[tuple[str, str, int]]:
        """(data set, target, seed) of an experiment; empty names if it asks for none."""
        for dataset in entry.dataset or ("",):
            recipes = self.zoo.get(dataset, {})
            for pattern in entry.target or ("",):
                targets = fnmatch.filter(recipes, pattern) if pattern else [""]
                for target in targets:
                    seeds = entry.seeds
                    if seeds is None:
                        seeds = recipes[target].seeds if target else (0,)
                    for seed in seeds:
                        yield dataset, target, seed

    def as_mapping(self) -> dict[str, Any]:
        """Plain data for YAML; ``parse`` makes an equal profile of it."""
        explain: dict[str, Any] = {
            "images": self.explain.images,
            "reference": self.explain.reference,
            "methods": [_entry(ref) for ref in self.explain.methods],
        }
        if self.explain.limits != Limits():
            explain["limits"] = asdict(self.explain.limits)
        if self.explain.again != Again():
            explain["again"] = self.explain.again.model_dump(exclude_unset=True)
        if self.explain.only:
            only = {
                dataset: _only(other) for dataset, other in self.explain.only.items()
            }
            explain["only"] = only
        if self.explain.metrics:
            explain["metrics"] = [_entry(ref) for ref in self.explain.metrics]
        zoo: dict[str, Any] = {}
        for dataset, recipes in self.zoo.items():
            zoo[dataset] = {
                name: mapping_of(recipe) for name, recipe in recipes.items()
            }
        replicate: dict[str, Any] = {}
        for paper, entries in self.replicate.items():
            replicate[paper] = [_experiment(entry) for entry in entries]
        whole = {
            "profile": self.name,
            "datasets": self.datasets,
            "papers": self.papers,
            "data": self.data,
            "zoo": zoo,
            "explain": explain,
            "replicate": replicate,
        }
        return settings.plain(whole)

    # ----------------------------------------------------------------------------------------- checks

    def _check(self) -> None:
        """Do the parts fit together?"""
        if self.name in ("reported", "evaluations", "studies"):
            raise Misfit(
                f"{self.name!r} is a folder of results/ already; choose another name",
                "profile",
            )
        _known(self.datasets, list(scripts.known()), "data set", "datasets")
        _known(self.papers, papers.names(), "paper", "papers")
        self._check_datasets(self.data, "data")
        self._check_datasets(self.zoo, "zoo")
        networks = [f"{each}/{net}" for each in self.zoo for net in self.zoo[each]]
        for name in self.explain.only:
            if name not in (*self.datasets, *networks):
                known = networks if "/" in name else self.datasets
                raise Misfit(near(name, known, _ONLY), "explain", "only")
        for name, section in self.data.items():
            settings.parameters(name, section)
        different = sorted(set(self.papers) ^ set(self.replicate))
        if different:
            raise Misfit(
                f"papers: and replicate: name different papers ({', '.join(different)})"
            )
        for paper, entries in self.replicate.items():
            for i, entry in enumerate(entries):
                _at(("replicate", paper, i), self._check_experiment, paper, entry)
            self._refuse_twice(paper)

    def _check_datasets(self, names: Iterable[str], *place: object) -> None:
        for name in names:
            if name not in self.datasets:
                raise Misfit(near(name, self.datasets, "data set in datasets:"), *place)

    def _check_experiment(self, paper: str, entry: Experiment) -> None:
        settings.experiment_settings(
            paper, entry.experiment, entry.settings, entry.sweep
        )
        for dataset in entry.dataset:
            if dataset not in self.datasets:
                raise Misfit(
                    near(dataset, self.datasets, "data set of the profile"), "dataset"
                )
        for dataset in entry.dataset or ("",):
            known = self.zoo.get(dataset, {})
            for pattern in entry.target:
                if not fnmatch.filter(known, pattern):
                    what = f"network of {dataset or 'no data set'}:"
                    raise Misfit(near(pattern, known, what), "target")

    def _refuse_twice(self, paper: str) -> None:
        """The same unit twice would be one file."""
        units: Counter[str] = Counter()
        for entry in self.replicate[paper]:
            for network in self.networks(entry):
                for chosen in entry.swept():
                    chosen_text = json.dumps(chosen, sort_keys=True)
                    parts = [entry.experiment, *_file_names(network), chosen_text]
                    units[" ".join(part for part in parts if part)] += 1
        twice = [unit for unit, count in units.items() if count > 1]
        if twice:
            more = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
            raise Misfit(f"the same unit twice: {twice[0]}{more}", "replicate", paper)


def _check_sections(values: Any) -> None:
    if not isinstance(values, dict):
        raise Misfit(settings.wrong(values, "a mapping"))
    for key in values:
        if key not in _SECTIONS:
            raise Misfit(near(key, _SECTIONS, "section"))
    for key in _SECTIONS:
        if key not in values:
            raise Misfit(
                f"the section {key!r} is missing; `glassbench use offline` restores it"
            )


def _known(given: tuple[str, ...], known: list[str], what: str, *place: object) -> None:
    for name in given:
        if name not in known:
            raise Misfit(near(name, known, what), *place)
        if given.count(name) > 1:
            raise Misfit(f"{name!r} is named twice", *place)


def _file_names(parts: tuple[object, ...]) -> list[str]:
    return [re.sub(r"[^\w.]+", "_", str(part)) for part in parts]


def _at(place: tuple[object, ...], check: Callable[..., None], *arguments: Any) -> None:
    try:
        check(*arguments)
    except Misfit as error:
        raise Misfit(error, *place, *error.place) from None


# --------------------------------------------------------------------------------------------- errors


def _first(error: ValidationError, source: str) -> ProfileError:
    """The first thing that is wrong; an unknown key goes before a missing one, which it may be meant to be."""
    found = error.errors(include_url=False)
    unknown = [one for one in found if one["type"] == "extra_forbidden"]
    first = unknown[0] if unknown else found[0]
    place = [part for part in first["loc"] if part != "[key]"]
    if unknown:
        *place, key = place
        in_only = len(place) > 1 and place[-2] == "only"  # of a data set or network
        part = Again if place[-1:] == ["again"] else Only if in_only else Explain
        known = part.model_fields
        return ProfileError(_line(source, place, str(near(key, known, "key"))))
    if first["type"] == "missing":
        place = place[:-1]
    inside = getattr(first.get("ctx", {}).get("error"), "place", ())
    return ProfileError(_line(source, [*place, *inside], settings.worded(first)))


def profile_error(source: str, error: Misfit) -> ProfileError:
    return ProfileError(_line(source, error.place, str(error)))


def _line(source: str, place: Iterable[Any], text: str) -> str:
    """``params.yaml: explain.methods[0]: what is wrong``"""
    where = ""
    for part in place:
        where += f"[{part}]" if isinstance(part, int) else f".{part}"
    parts = [source, where.removeprefix("."), text]
    line = ": ".join(part for part in parts if part)
    return " ".join(line.split())


def _twice(node: yaml.Node, seen: set[int]) -> Iterator[str]:
    """Keys that a mapping of the file has twice, of which YAML would keep the last."""
    if id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        yield from _equal_keys(node)
    for item in node.value:
        for part in item if isinstance(item, tuple) else (item,):
            yield from _twice(part, seen)


def _equal_keys(node: yaml.MappingNode) -> Iterator[str]:
    first: dict[tuple[str, str], yaml.Mark] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        mark = key.start_mark
        before = first.setdefault((key.tag, key.value), mark)
        if before is not mark:
            lines = f"lines {before.line + 1} and {mark.line + 1}"
            yield f"the key {key.value!r} stands twice in one mapping, {lines}"


# --------------------------------------------------------------------------------------------- plain data


def _entry(ref: MethodRef | MetricRef) -> str | dict[str, Any]:
    """A method or metric as a profile names it; tuples among its settings, which YAML does not have, go into the
    name's query."""
    use = ref.use
    tuples, rest = {}, {}
    for key, value in ref.settings.items():
        if isinstance(value, tuple):
            tuples[key] = repr(value)
        else:
            rest[key] = value
    if tuples:
        use = f"{use}?{urlencode(tuples)}"
    return {"use": use, **rest} if rest else use


def _only(other: Only) -> dict[str, Any]:
    given = [key for key in type(other).model_fields if key in other.model_fields_set]
    found = {key: getattr(other, key) for key in given}
    if "methods" in found:
        found["methods"] = [_entry(ref) for ref in other.methods]
    if "again" in found:
        found["again"] = other.again.model_dump(exclude_unset=True)
    return found


def _experiment(entry: Experiment) -> dict[str, Any]:
    found = {}
    for key in ("experiment", "dataset", "target", "seeds", "sweep"):
        value = getattr(entry, key)
        if value not in (None, (), {}):
            found[key] = value
    return found | dict(entry.settings)
