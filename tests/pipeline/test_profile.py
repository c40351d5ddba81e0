"""A profile is checked as a whole before anything is touched: one line names the place, and no file changes."""

import copy
import datetime
import functools
import json
import os
import pickle

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from benchmark import store
from benchmark.cli import main
from benchmark.jobs import evaluate, verify
from benchmark.methods.registry import MethodRef
from benchmark.pipeline import (
    cells,
    explain,
    profile_schema,
    replicate,
    score,
    settings,
)
from benchmark.pipeline.profile import Profile
from benchmark.utils.near_names import ProfileError, UnknownName
from tests.helpers.imports import loaded
from tests.helpers.places import ROOT

SHIPPED = main.profiles()
RANDOM, ACE = (
    f"{ROOT}/baselines/{name}" for name in ("random_map.py:RandomMap", "ace.py:ACE")
)
SCORE_CAM = f"{ROOT}/baselines/score_cam.py:ScoreCAM"
REUSED = f"{ROOT}/benchmark/papers/representative/reuse.py:Reused"
DECODING = {"epochs": 1, "batch": 32, "lr": 0.003}
GONE = object()
COMMANDS = [
    "train",
    "explain",
    "score",
    "replicate",
    "report",
    "prepare",
    "plan",
    "verify",
    f"evaluate {RANDOM}",
]

# place, value, what the line says after "params.yaml: "
WRONG = [
    ("expalin", {}, "no section 'expalin'; did you mean explain"),
    ("evaluation", "x", "no section 'evaluation'"),
    ("profile", "reported", "profile: 'reported' is a folder of results/ already"),
    (
        "explain.methods",
        [{"use": ACE, "clusters": 0}],
        "explain.methods[0].clusters: 0 is too small; expected at least 1",
    ),
    (
        "explain.methods",
        [{"use": SCORE_CAM, "variant": "authrs"}],
        "explain.methods[0].variant: 'authrs' must be 'authors' or 'library'",
    ),
    (
        "explain.methods",
        [{"use": ACE, "segments": [15, 0]}],
        "explain.methods[0].segments[1]: 0 is too small",
    ),
    (
        "explain.methods",
        [{"use": ACE, "segments": []}],
        "explain.methods[0].segments: is empty; expected at least one number",
    ),
    ("explain.methods", [{"use": REUSED, "of": {"use": RANDOM}}], "explain.methods[0]"),
    ("zoo", GONE, "the section 'zoo' is missing; `glassbench use offline` restores it"),
    ("profile", "../up", "profile: '../up' is not a name"),
    (
        "profile",
        True,
        "profile: True is not text; YAML reads yes, no, on and off as true or false: quote it",
    ),
    (
        "profile",
        datetime.date(2020, 1, 1),
        "profile: '2020-01-01' is neither text nor a number, list or mapping; YAML reads it as a date",
    ),
    ("datasets", "blobs", "datasets: 'blobs' is not a list"),
    ("datasets", ["blobs", "blobs"], "datasets: 'blobs' is named twice"),
    ("datasets", ["blob"], "datasets: no data set 'blob'; did you mean blobs?"),
    ("papers", None, "papers: is empty; expected a list"),
    ("papers", ["explainn", "clade"], "papers: no paper 'clade'; did you mean cladec?"),
    (
        "papers",
        ["explainn"],
        "papers: and replicate: name different papers (cladec, layer_trees, representative)",
    ),
    ("data", None, "data: is empty; expected a mapping"),
    ("data", [], "data: [] is not a mapping"),
    ("data.blob", {}, "data: no data set in datasets: 'blob'; did you mean blobs?"),
    ("data.blobs", None, "data.blobs: is empty; expected a mapping"),
    ("data.blobs.sise", 3, "no parameter in data.blobs: 'sise'; did you mean size?"),
    ("data.blobs.size", "big", "data.blobs.size is 'big'; expected a positive integer"),
    ("data.blobs.size", 0, "data.blobs.size is 0; expected a positive integer"),
    ("data.blobs.size", 1.5, "data.blobs.size: 1.5 is not an integer, text or null"),
    ("zoo", None, "zoo: is empty; expected a mapping"),
    ("zoo.blob", {}, "zoo: no data set in datasets: 'blob'; did you mean blobs?"),
    ("zoo.blobs.a/b", {}, "zoo.blobs.a/b: 'a/b' is not a name"),
    ("zoo.blobs.cnn", None, "zoo.blobs.cnn: is empty; expected a mapping"),
    ("zoo.blobs.cnn", ["cnn"], "zoo.blobs.cnn: ['cnn'] is not a mapping"),
    (
        "zoo.blobs.cnn.net",
        "explain_cnn",
        "zoo.blobs.cnn: no net (of a recipe) 'explain_cnn'; did you mean explainn_cnn",
    ),
    ("zoo.blobs.cnn.net", ["cnn"], "zoo.blobs.cnn.net: ['cnn'] is not text"),
    ("zoo.blobs.cnn.net", GONE, "zoo.blobs.cnn: a recipe needs net"),
    ("zoo.blobs.cnn.epoch", 1, "zoo.blobs.cnn: no key 'epoch'; did you mean epochs?"),
    ("zoo.blobs.cnn.epochs", "many", "zoo.blobs.cnn.epochs: 'many' is not an integer"),
    (
        "zoo.blobs.cnn.epochs",
        -1,
        "zoo.blobs.cnn.epochs: must be an integer in [0, 100000], not -1",
    ),
    (
        "zoo.blobs.cnn.lr",
        "1e-3",
        "zoo.blobs.cnn.lr: '1e-3' is not a number; YAML reads it as text",
    ),
    (
        "zoo.blobs.cnn.lr",
        "3",
        "zoo.blobs.cnn.lr: '3' is not a number; write it without quotes",
    ),
    ("zoo.blobs.cnn.lr", float("inf"), "zoo.blobs.cnn.lr: inf is not a finite number"),
    ("zoo.blobs.cnn.seeds", 3, "zoo.blobs.cnn.seeds: 3 is not a list"),
    ("zoo.blobs.cnn.seeds", [0, 0], "zoo.blobs.cnn.seeds: [0, 0] names a seed twice"),
    ("zoo.blobs.cnn.explain", "no", "zoo.blobs.cnn.explain: 'no' is not true or false"),
    ("zoo.blobs.cnn.gamma", 0.5, "zoo.blobs.cnn: schedule none does not use gamma"),
    ("zoo.blobs.cnn.options", {"width": 3}, "zoo.blobs.cnn.options: no key 'width'"),
    ("explain", None, "explain: is empty; expected a mapping"),
    ("explain", [1], "explain: [1] is not a mapping"),
    ("explain.imagess", 3, "explain: no key 'imagess'; did you mean images?"),
    ("explain.images", GONE, "explain: images is missing"),
    ("explain.images", "many", "explain.images: 'many' is not an integer"),
    ("explain.images", True, "explain.images: True is not an integer"),
    ("explain.images", 3.0, "explain.images: 3.0 is not an integer"),
    ("explain.images", 0, "explain.images: 0 must be at least 1"),
    ("explain.reference", None, "explain.reference: is empty; expected an integer"),
    ("explain.methods", RANDOM, "is not a list"),
    ("explain.methods.0", 5, "explain.methods[0]: 5 is not a method"),
    (
        "explain.methods.0",
        {"layer": "x"},
        "explain.methods[0]: a method needs use: path/to/file.py:ClassName",
    ),
    (
        "explain.methods.0",
        "nope.py:Nope",
        "explain.methods[0]: no method file 'nope.py'",
    ),
    (
        "explain.methods.0",
        ACE + "s",
        "explain.methods[0]: no class in ace.py: 'ACEs'; did you mean ACE?",
    ),
    (
        "explain.methods.0",
        {"use": ACE, "segmnts": [5]},
        "explain.methods[0]: no key 'segmnts'; did you mean segments?",
    ),
    (
        "explain.methods.0",
        {"use": ACE, "segments": 15},
        "explain.methods[0].segments: 15 is not a list",
    ),
    (
        "explain.methods.0",
        {"use": ACE, "segments": [5, "a"]},
        "explain.methods[0].segments[1]: 'a' is not an integer",
    ),
    (
        "explain.methods.0",
        {"use": REUSED, "of": 3},
        "explain.methods[0].of: 3 is not a method",
    ),
    (
        "explain.limits",
        {"second": 3},
        "explain.limits: no key 'second'; did you mean seconds?",
    ),
    ("explain.limits", {"seconds": 0}, "explain.limits.seconds: 0 must be above 0"),
    (
        "explain.only",
        {"blob": {}},
        "explain.only: no data set in datasets:, or network as dataset/network: 'blob'; did you mean blobs?",
    ),
    (
        "explain.only",
        {"blobs": {"imags": 3}},
        "explain.only.blobs: no key 'imags'; did you mean images?",
    ),
    (
        "explain.only",
        {"blobs": {"images": None}},
        "explain.only.blobs.images: is empty; expected an integer",
    ),
    ("replicate.cladec", {}, "replicate.cladec: {} is not a list"),
    ("replicate.cladec.0", [], "replicate.cladec[0]: [] is not a mapping"),
    (
        "replicate.cladec.0.experiment",
        GONE,
        "replicate.cladec[0]: experiment is missing",
    ),
    (
        "replicate.cladec.0.experiment",
        "layer",
        "replicate.cladec[0].experiment: no experiment of cladec 'layer'; did you mean layers or linear?",
    ),
    (
        "replicate.cladec.0.dataset",
        "blob",
        "replicate.cladec[0].dataset: no data set of the profile 'blob'; did you mean blobs?",
    ),
    (
        "replicate.cladec.0.target",
        "cmm*",
        "replicate.cladec[0].target: no network of blobs: 'cmm*'; there are cnn",
    ),
    ("replicate.cladec.0.seeds", "0", "replicate.cladec[0].seeds: '0' is not a list"),
    (
        "replicate.cladec.0.seeds",
        None,
        "replicate.cladec[0].seeds: is empty; expected a list",
    ),
    (
        "replicate.cladec.0.seeds",
        [-1],
        "replicate.cladec[0].seeds[0]: -1 must be at least 0",
    ),
    ("replicate.cladec.0.layers", GONE, "replicate.cladec[0]: layers is missing"),
    (
        "replicate.cladec.0.layers",
        {"-1": "fc1"},
        "replicate.cladec[0].layers: {'-1': 'fc1'} must be {-1: 'fc1'}",
    ),
    (
        "replicate.cladec.0.imagess",
        3,
        "replicate.cladec[0]: no key 'imagess'; did you mean images",
    ),
    (
        "replicate.cladec.0.decoding",
        [1],
        "replicate.cladec[0].decoding: [1] is not a mapping",
    ),
    (
        "replicate.cladec.0.decoding.epoch",
        1,
        "replicate.cladec[0].decoding: no key 'epoch'; did you mean epochs?",
    ),
    (
        "replicate.cladec.0.decoding.epochs",
        "x",
        "replicate.cladec[0].decoding.epochs: 'x' is not an integer",
    ),
    ("replicate.cladec.0.decoding.batch", 1, "replicate.cladec[0].decoding: Training("),
    (
        "replicate.explainn.0.sweep",
        None,
        "replicate.explainn[0].sweep: is empty; expected a mapping",
    ),
    (
        "replicate.explainn.0.sweep",
        {"m": 10},
        "replicate.explainn[0].sweep.m: 10 is not a list",
    ),
    (
        "replicate.explainn.0.sweep",
        {"m": [10, "a"]},
        "replicate.explainn[0].sweep.m[1]: 'a' is not an integer",
    ),
    (
        "replicate.explainn.0.sweep",
        {"mm": [1]},
        "replicate.explainn[0].sweep: no key 'mm'",
    ),
    ("replicate.explainn.0.m", 10, "replicate.explainn[0].sweep.m: m is set beside it"),
    (
        "replicate.explainn.1",
        {"experiment": "planted", "seeds": [1], "m": 50},
        "replicate.explainn: the same unit twice: planted 1",
    ),
    (
        "replicate.layer_trees.0.maps",
        "nope.py:X",
        "replicate.layer_trees[0].maps: no method file 'nope.py'",
    ),
    (
        "replicate.representative.0.methods",
        [3],
        "replicate.representative[0].methods[0]: 3 is not text or a mapping",
    ),
    (
        "replicate.representative.0.methods",
        [{"use": 3}],
        "replicate.representative[0].methods[0]: a method needs use",
    ),
]


@pytest.fixture
def project(trained):
    """A profile with finished cells, and an experiment of most papers."""
    script = trained.root / "datasets" / "blobs.py"
    script.write_text('"""Blobs."""\n\nDEFAULTS = {"size": 28, "train": None}\n')
    network = {"dataset": "blobs", "target": "cnn"}
    trained.params["explain"]["methods"] = [RANDOM]
    trained.params["replicate"] = {
        "explainn": [
            {"experiment": "planted", "seeds": [0, 1], "sweep": {"m": [10, 50]}},
            {"experiment": "worked_example"},
        ],
        "cladec": [
            {
                "experiment": "layers",
                **network,
                "layers": {-1: "fc1"},
                "decoding": dict(DECODING),
            }
        ],
        "layer_trees": [{"experiment": "drawing", **network, "layer": "fc1"}],
        "representative": [{"experiment": "unseen", **network, "methods": []}],
    }
    trained.params["papers"] = list(trained.params["replicate"])
    trained.save()
    (cell,) = cells.cells(trained.profile, "blobs")
    explain.explain_cell(cell)
    score.score_cell(cell)
    return trained


def changed(params, place, value):
    """A copy of a profile's mapping with another value at a place (GONE: without it)."""
    params = copy.deepcopy(params)
    *parents, last = [
        int(part) if part.isdecimal() else part for part in place.split(".")
    ]
    inside = params
    for part in parents:
        inside = inside[part]
    if value is GONE:
        del inside[last]
    else:
        inside[last] = value
    return params


def state(root):
    return {
        p: p.read_bytes()
        for p in root.rglob("*")
        if p.is_file() and p.name != "params.yaml"
    }


def test_whatever_is_wrong_is_one_line_and_finished_cells_stay(project, capsys):
    before, right = state(project.root), project.params
    for place, value, words in WRONG:
        project.params = changed(right, place, value)
        project.save()
        with pytest.raises(ProfileError) as raised:
            Profile.parse(project.params)
        for command in COMMANDS:
            assert main.main(command.split()) == 2, (place, value, command)
            line = capsys.readouterr().err
            assert line == f"glassbench: {raised.value}\n" and "\n" not in str(
                raised.value
            ), (
                place,
                value,
                command,
            )
        assert str(raised.value).startswith(
            f"params.yaml: {words}" if words[:2] != "is" else "params.yaml: "
        ), line
        assert words in line
        assert state(project.root) == before, (place, value)


@pytest.mark.parametrize(
    "door", [lambda p: evaluate.evaluate_methods(p, [RANDOM]), verify.verify_rows]
)
def test_python_gets_the_same_line(project, door):
    before = state(project.root)
    with pytest.raises(
        ProfileError, match="^profile: explain.images: 'many' is not an integer$"
    ):
        door(changed(project.params, "explain.images", "many"))
    assert state(project.root) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "profile: tiny\nexplain:\n  images: 1\n  reference: 2\n  images: 3\n",
            "the key 'images' stands twice in one mapping, lines 3 and 5",
        ),
        (
            "profile: tiny\nzoo: {blobs: {cnn: {net: cnn, net: mlp}}}\n",
            "the key 'net' stands twice in one mapping, lines 2 and 2",
        ),
        ("profile: tiny\nzoo: &a {zoo: *a}\n", "nested too deeply, or in itself"),
        ("[1, 2]\n", "not a mapping"),
    ],
)
def test_a_file_that_yaml_would_read_otherwise_is_refused(project, text, words, capsys):
    (project.root / "params.yaml").write_text(text)
    before = state(project.root)
    assert main.main(["explain"]) == 2
    line = capsys.readouterr().err
    assert words in line and "params.yaml" in line and line.count("\n") == 1
    assert state(project.root) == before


def test_a_key_may_stand_beside_the_one_that_is_merged_in(tmp_path):
    text = SHIPPED["offline"].read_text()
    entry = "{<<: *mlp, options: {width: 100, depth: 4, activation: gelu}, seeds: [0]}"
    assert entry in text
    recipe = Profile.read(SHIPPED["offline"]).zoo["digits"]["mlp-gelu-100x4"]
    assert recipe.seeds == [0] and recipe.epochs == 150


@pytest.mark.parametrize("value", [None, [], "offline", 3])
def test_what_is_no_mapping_is_no_profile(value):
    with pytest.raises(
        ProfileError, match="^here: .*expected a mapping|^here: .* is not a mapping"
    ):
        Profile.parse(value, "here")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_says_what_its_yaml_says(name):
    """Seeds of experiments hang on their settings' text, so that it stays to the letter."""
    profile, raw = (
        Profile.read(SHIPPED[name]),
        yaml.safe_load(SHIPPED[name].read_text()),
    )
    own = ("experiment", "dataset", "target", "seeds", "sweep")
    for paper, entries in raw["replicate"].items():
        found = list(
            dict.fromkeys(
                json.dumps(task.settings) for task in replicate.tasks(profile, paper)
            )
        )
        wanted = [
            {k: v for k, v in entry.items() if k not in own}
            for entry in entries
            if not entry.get("sweep")
        ]
        assert {json.dumps(settings) for settings in wanted} <= set(found)
        for entry, parsed in zip(entries, profile.replicate[paper], strict=True):
            assert {k: v for k, v in entry.items() if k not in own} == parsed.settings
    assert profile.name == name and profile.datasets == tuple(raw["datasets"])
    for dataset, recipes in raw["zoo"].items():
        assert [(t, s) for t, s, _ in profile.trainings(dataset)] == [
            (t, s) for t, r in recipes.items() for s in r.get("seeds", [0])
        ]


@pytest.mark.parametrize("name", SHIPPED)
def test_plain_data_give_an_equal_profile(name):
    profile = Profile.read(SHIPPED[name])
    assert (
        Profile.parse(yaml.safe_load(yaml.safe_dump(profile.as_mapping()))) == profile
    )
    assert pickle.loads(pickle.dumps(profile)) == profile
    json.dumps(profile.as_mapping())


def test_the_order_of_a_mapping_is_that_of_the_profile(workspace):
    """Not that of a set of names, which differs from process to process: the hash of the settings is made of it."""
    other = {"again": {"images": 0}, "images": 3, "reference": 8}
    workspace.params["explain"]["only"] = {"blobs": other}
    only = workspace.profile.as_mapping()["explain"]["only"]["blobs"]
    declared = [
        key
        for key in type(workspace.profile.explain.only["blobs"]).model_fields
        if key in other
    ]
    assert list(only) == declared and only == other


def test_a_setting_that_yaml_does_not_have_survives():
    entry = "captum:Occlusion?sliding_window_shapes=(1, 4, 4)&strides=2"
    profile = Profile.read(SHIPPED["trees"])
    profile = profile.replace(
        explain=profile.explain.model_copy(
            update={"methods": (MethodRef.parse(entry),)}
        )
    )
    assert Profile.parse(profile.as_mapping()) == profile


def test_a_profile_does_not_change(project):
    given = copy.deepcopy(project.params)
    profile = Profile.parse(given)
    with pytest.raises(ValidationError, match="frozen"):
        profile.name = "other"
    given["replicate"]["cladec"][0]["decoding"]["epochs"] = (
        99  # is not the profile's own
    )
    assert profile.replicate["cladec"][0].settings["decoding"] == DECODING
    assert profile.replace(name="other").name == "other" and profile.name == "tiny"
    with pytest.raises(UnknownName, match="did you mean evaluation"):
        profile.replace(evaluations="x")


def test_a_data_set_may_be_explained_otherwise(project):
    other = {"images": 3, "methods": []}
    profile = Profile.parse(changed(project.params, "explain.only", {"blobs": other}))
    found = profile.explained("blobs")
    assert (found.images, found.reference, found.methods) == (
        3,
        16,
        (),
    ) and found.limits == profile.explain.limits
    assert profile.explained("another").images == 8


def test_a_network_may_be_explained_otherwise(project):
    (target, *_) = project.params["zoo"]["blobs"]
    only = {"blobs": {"images": 3, "reference": 9}, f"blobs/{target}": {"images": 2}}
    profile = Profile.parse(changed(project.params, "explain.only", only))
    mine, others = profile.explained("blobs", target), profile.explained("blobs", "x")
    assert (mine.images, mine.reference) == (2, 9)
    assert (others.images, others.reference) == (3, 9)
    assert {
        cell.images for cell in cells.cells(profile, "blobs") if cell.target == target
    } == {2}
    assert Profile.parse(profile.as_mapping()) == profile
    with pytest.raises(ProfileError, match=f"did you mean blobs/{target}"):
        Profile.parse(changed(project.params, "explain.only", {f"blobs/{target}s": {}}))


def test_a_network_may_have_no_hidden_layers():
    """XNN's of Sec. 4.4 is one convolution each way; any hidden layer that there is has a unit."""
    check = functools.partial(settings.experiment_settings, "xnn", "degeneration")
    check({"training": {"hidden": []}}, {})
    with pytest.raises(settings.Misfit, match="0 is too small"):
        check({"training": {"hidden": [0]}}, {})


def test_a_script_without_defaults_takes_what_it_takes(project):
    """One that `glassbench prepare folder` wrote."""
    (project.root / "datasets" / "blobs.py").write_text(
        "from benchmark.data.folders import run\n"
    )
    assert Profile.parse(changed(project.params, "data.blobs.fit", "crop")).data[
        "blobs"
    ] == {"fit": "crop"}


@pytest.mark.parametrize("command", ["use offline", "mend", "show --profile offline"])
def test_commands_that_need_no_profile_stay_quick(command, tmp_path):
    root = ROOT if command.startswith("show") else tmp_path
    code = f"from benchmark.cli.main import main; main({command.split()})"
    environment = os.environ | {"GLASSBENCH_ROOT": str(root), "PYTHONPATH": str(ROOT)}
    options = {"env": environment, "cwd": tmp_path}
    assert loaded(code, "torch", "pydantic", **options) == set()


# --------------------------------------------------------------------------------------------- the schema


def test_the_schema_is_that_of_the_code():
    there = (ROOT / "docs" / "profile.schema.json").read_text()
    made = json.dumps(profile_schema.schema(), indent=1) + "\n"
    assert there == made, (
        "python -m benchmark.pipeline.profile_schema > docs/profile.schema.json"
    )


@pytest.fixture(scope="module")
def validator():
    schema = json.loads((ROOT / "docs" / "profile.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_profiles_fit_the_schema(validator, name):
    assert not list(validator.iter_errors(store.read_yaml(SHIPPED[name])))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("expalin", {}),
        ("profile", "a/b"),
        ("data.digits.size", "big"),
        ("data.digits.sise", 3),
        ("zoo.digits.cnn.epoch", 1),
        ("zoo.digits.cnn.net", "cmm"),
        ("zoo.digits.cnn.lr", "1e-3"),
        ("explain.images", 0),
        ("explain.imagess", 3),
        ("explain.methods.7.segmnts", [1]),
        ("explain.methods.7.segments", 1),
        ("explain.limits", {"second": 3}),
        ("replicate.cladec.0.experiment", "layer"),
        ("replicate.cladec.0.decoding", {"epoch": 1}),
        ("replicate.xnn.0.alpa", 1),
        ("replicate.explainn.1.sweep", {"m": 10}),
    ],
)
def test_the_schema_refuses_what_is_wrong(validator, place, value):
    right = store.read_yaml(SHIPPED["offline"])
    assert not validator.is_valid(changed(right, place, value))
