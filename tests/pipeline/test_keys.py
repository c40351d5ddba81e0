"""The table of what decides a number: complete for what truly runs, and the same in ``dvc.yaml``."""

import ast
import inspect
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from benchmark import data, engine, store, zoo
from benchmark.methods import registry
from benchmark.pipeline import explain, keys, score
from benchmark.pipeline.inputs import load_batch
from benchmark.pipeline.protocol import attempt, measure, summary
from benchmark.pipeline.replicate import Task, experiment, perform
from benchmark.store.code_hash import CARRIERS, Code
from benchmark.store.hashes import file_hash
from tests.helpers.places import ROOT

# Stage ``score`` runs step ``again`` too.
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("step", [step for step in keys.STEPS if step != "again"])
def test_dvc_depends_on_the_code_that_the_table_names(step):
    deps = STAGES["data" if step == "prepare" else step]["deps"]
    code = [
        name for name in deps if not name.startswith(("results/", "datasets/processed"))
    ]
    assert code == keys.dependencies(step), f"write these into dvc.yaml, stage {step}"


# --------------------------------------------------------------------------------------------- what truly runs


def called(function):
    """(module, top-level definition) of every function of ours that a call runs."""
    codes = set()
    sys.setprofile(
        lambda frame, event, _: codes.add(frame.f_code) if event == "call" else None
    )
    try:
        function()
    finally:
        sys.setprofile(None)
    return {place for code in codes if (place := placed(code))}


def placed(code):
    path = Path(code.co_filename)
    if not path.is_relative_to(ROOT) or ".venv" in path.parts or "tests" in path.parts:
        return None
    file = path.relative_to(ROOT)
    name = file.with_suffix("").as_posix()
    module = (
        name.replace("/", ".").removesuffix(".__init__")
        if name.startswith("benchmark/")
        else f"{name}.py"
    )
    statement = next(
        (
            s
            for s in ast.parse(path.read_bytes()).body
            if s.lineno <= code.co_firstlineno <= s.end_lineno
            or any(
                d.lineno == code.co_firstlineno
                for d in getattr(s, "decorator_list", [])
            )
        ),
        None,
    )
    if (
        statement is None
        or module in CARRIERS
        or not code.co_flags & inspect.CO_OPTIMIZED
    ):  # bodies of modules and classes
        return None
    names = (
        [getattr(statement, "name", "")]
        if hasattr(statement, "name")
        else [t.id for t in getattr(statement, "targets", [])]
    )
    return module, names[0]


def explained(cell):
    return lambda: attempt(cell)


def scored(cell, spec):
    explanation, _ = attempt(cell)
    return lambda: [
        summary(values)
        for setting in spec.settings
        for status, _, values in [
            measure(cell, spec, setting, explanation, load_batch(cell))
        ]
        if status == "ok"
    ]


METHODS = [
    "baselines/grad_cam.py:GradCAM",
    "baselines/score_cam.py:ScoreCAM",
    "baselines/excitation_backprop.py:ExcitationBackprop",
    "baselines/layer_z.py:LayerZ",
    "benchmark/papers/representative/method.py:RepresentativeInterpretations",
    "benchmark/papers/layer_trees/method.py:LayerTree",
    "benchmark/papers/explainn/method.py:ExplaiNN",
    {"use": "benchmark/papers/cladec/method.py:ClaDec", "epochs": 1, "base": 4},
    {
        "use": "benchmark/papers/xnn/method.py:XNN",
        "hidden": [8, 4],
        "epochs": 1,
        "restarts": 0,
    },
    {
        "use": "benchmark/papers/representative/reuse.py:Reused",
        "of": f"{ROOT}/baselines/grad_cam.py:GradCAM",
    },
    {"use": "baselines/ace.py:ACE", "segments": [8], "images": 6, "clusters": 2},
]


def name_of(entry):
    return entry if isinstance(entry, str) else entry["use"]


@pytest.mark.parametrize(
    "entry", METHODS, ids=lambda entry: name_of(entry).rpartition(":")[2]
)
def test_all_that_explains_is_in_the_key(trained, monkeypatch, entry):
    ref = registry.MethodRef.parse(entry, base=ROOT)
    (cell,) = cells_of(trained, ref)
    places = called(explained(cell))
    entries = [
        *keys.STEPS["explain"],
        *(keys.method_entry(r) for r in (ref, *ref.named)),
    ]
    assert {module for module, _ in places} >= {
        "benchmark.pipeline.protocol",
        "benchmark.pipeline.inputs",
    }
    assert places <= Code(ROOT).reached(entries)


def cells_of(workspace, ref):
    from benchmark.pipeline.cells import Cell

    return [Cell("tiny", "blobs", "cnn", 0, ref, images=8, reference=16)]


@pytest.mark.parametrize("name", registry.scoring_metrics())
def test_all_that_scores_is_in_the_key(trained, name):
    spec = registry.scoring_metrics()[name]
    (cell,) = cells_of(trained, registry.MethodRef.parse(METHODS[4], base=ROOT))
    places = called(scored(cell, spec))
    function = f"{spec.function.__module__}:{spec.function.__name__}"
    assert places <= Code(ROOT).reached([*keys.STEPS["score"], function])


def test_all_that_trains_is_in_the_key(workspace):
    file = store.Paths("tiny").data("blobs")
    recipe = {
        "net": "explainn_cnn",
        "epochs": 2,
        "batch": 32,
        "stop_at_train_accuracy": 1.0,
        "check_every": 1,
    }
    flat = {"net": "mlp", "options": {"width": 8, "depth": 2}, "epochs": 1}
    jobs = [
        (one, 0, workspace.root / f"{one['net']}.safetensors") for one in (recipe, flat)
    ]
    dataset = data.load(file)
    places = called(lambda: zoo.train_many(dataset, jobs))
    assert ("benchmark.data.dataset", "Dataset") in places and (
        "benchmark.zoo.dense",
        "Chain",
    ) in places
    assert places <= Code(ROOT).reached(keys.STEPS["train"])


def training_hashes(root):
    return {
        net: keys.training_code(Code(root), keys.builder_entry(net)) for net in zoo.NETS
    }


NEW_NET = """

from benchmark.zoo.nets import {decorator}


@{decorator}(layer="one")
def another(input_shape, classes):
    return {{"one": torch.nn.Flatten(), "two": torch.nn.Linear(4, classes)}}
"""


def test_a_new_network_moves_no_other(copy):
    trains, steps = training_hashes(copy), all_hashes(copy)
    edited(copy, "benchmark/zoo/__init__.py", "import resnet,", "import plain, resnet,")
    new = copy / "benchmark/zoo/plain.py"
    new.write_text("import torch\n" + NEW_NET.format(decorator="net_builder"))
    assert training_hashes(copy) == trains
    assert all_hashes(copy) == steps
    shared = copy / "benchmark/zoo/nets.py"
    shared.write_text(shared.read_text() + NEW_NET.format(decorator="_net"))
    assert training_hashes(copy) == trains


@pytest.mark.parametrize(
    ("file", "old", "new", "moved"),
    [
        ("nets.py", "added = maps - c", "added = maps", {"resnet10"}),
        ("nets.py", "z[0].numel()", "z[0].nbytes", {"cnn", "vgg11", "resnet10"}),
        ("resnet.py", "torch.relu(", "torch.tanh(", {"resnet"}),
        ("vit.py", "10_000**", "1_000**", {"vit"}),
        ("training.py", "start = stop", "start = rows.shape[1]", set(zoo.NETS)),
    ],
)
def test_a_network_depends_on_its_own_builder(copy, file, old, new, moved):
    before = training_hashes(copy)
    edited(copy, f"benchmark/zoo/{file}", old, new)
    after = training_hashes(copy)
    assert {net for net in before if before[net] != after[net]} == moved


def test_a_builder_with_a_file_of_its_own_is_in_the_key_of_what_it_built(
    trained, monkeypatch
):
    (cell,) = cells_of(trained, registry.MethodRef.parse(METHODS[0], base=ROOT))
    weights = file_hash(cell.weights)
    assert keys.network_hash(cell) == weights  # a step holds ``cnn``
    card = cell.weights.with_suffix(".json")
    store.write_json(card, store.read_json(card) | {"net": "vit"})
    now = keys.network_hash(cell), keys.explain_key(cell), keys.score_keys(cell)
    assert now[0] != weights
    monkeypatch.setattr(keys, "_builder_hash", lambda net: net and "another")
    then = keys.network_hash(cell), keys.explain_key(cell), keys.score_keys(cell)
    assert now[0] != then[0] and now[1] != then[1]
    assert not now[2].items() & then[2].items()
    store.write_json(card, {"failed": "diverged"})
    assert keys.network_hash(cell) == weights


def test_all_that_an_experiment_runs_is_in_the_key(trained):
    task = Task(
        "tiny",
        "layer_trees",
        "trees",
        "blobs",
        "cnn",
        0,
        {"layers": ["fc1"], "samples": 40, "thresholds": [0]},
    )
    places = called(lambda: perform(task))
    function = experiment("layer_trees", "trees")
    reached = Code(ROOT).reached(
        [*keys.STEPS["replicate"], f"{function.__module__}:{function.__name__}"]
    )
    assert ("benchmark.papers.layer_trees.trees", "grow") in places
    finding_it = {("benchmark.papers", "part"), ("benchmark.papers", "names")}
    assert places - finding_it <= reached


def test_a_change_of_any_function_that_a_cell_calls_is_another_key(trained, tmp_path):
    ref = registry.MethodRef.parse(METHODS[0], base=ROOT)
    (cell,) = cells_of(trained, ref)
    copy = tmp_path / "copy"
    for folder in ("benchmark", "baselines"):
        shutil.copytree(
            ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    entries = [*keys.STEPS["explain"], keys.method_entry(ref)]
    before = Code(copy).hash(entries)
    unseen = [
        place
        for place in called(explained(cell))
        if changed(copy, place, entries) == before
    ]
    assert not unseen


def changed(root, place, entries):
    """The hash with one more statement in the first function of a definition; the file is as before afterwards."""
    module, definition = place
    path = next(
        p
        for p in (
            root / module,
            root / f"{module.replace('.', '/')}.py",
            root / module.replace(".", "/") / "__init__.py",
        )
        if p.is_file()
    )
    text = path.read_text()
    tree = ast.parse(text)
    statement = next(s for s in tree.body if getattr(s, "name", "") == definition)
    function = next(
        n
        for n in ast.walk(statement)
        if isinstance(n, ast.FunctionDef) and n.name not in ("work",)
    )
    function.body.insert(0, ast.parse("_changed = 1").body[0])
    try:
        path.write_text(ast.unparse(tree))
        return Code(root).hash(entries)
    finally:
        path.write_text(text)


# --------------------------------------------------------------------------------------------- what stays, what goes


def edited(root, file, old, new):
    path = root / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the package whose code the keys are taken from."""
    for folder in ("benchmark", "baselines"):
        shutil.copytree(
            ROOT / folder,
            tmp_path / "copy" / folder,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    return tmp_path / "copy"


def all_hashes(root):
    code = Code(root)
    metrics = {
        n: code.hash([f"{s.function.__module__}:{s.function.__name__}"])
        for n, s in registry.metrics().items()
    }
    return {
        **{step: code.hash(entries) for step, entries in keys.STEPS.items()},
        **metrics,
    }


# Metrics that draw by name: images and networks, or sets of pixels and noise.
DRAWING = registry.calling_metrics().keys() - {
    "input_invariance",
    "passes_per_image",
}
DRAWING |= {"faithfulness_correlation", "infidelity", "monotonicity_correlation"}
DRAWING |= {"road_lerf", "road_morf", "sensitivity_n", "single_deletion"}
DRAWING |= {
    "patch_correlation"
}  # its rank correlation is in the module of the regions that are drawn


@pytest.mark.parametrize(
    ("file", "old", "new", "moved"),
    [
        ("benchmark/zoo/nets.py", '"""', '"""So, ', set()),
        (
            "benchmark/pipeline/explain.py",
            "from __future__",
            "# a comment\nfrom __future__",
            set(),
        ),
        (
            "benchmark/data/dataset.py",
            "counts @ levels**2",
            "counts @ levels**3",
            set(keys.STEPS),
        ),
        (
            "benchmark/utils/seeds.py",
            ">> 1",
            ">> 2",
            {*keys.STEPS, *DRAWING},
        ),
        (
            "benchmark/metrics/complexity.py",
            "import numpy as np",
            "import numpy as np\n\n\ndef more():\n    return 1\n",
            set(),
        ),
        (
            "benchmark/metrics/occlusion.py",
            "\n\n\n@metric",
            "\n\n\nLATER = 1\n\n\n@metric",
            set(),
        ),
    ],
)
def test_only_what_an_edit_can_move_gets_another_key(copy, file, old, new, moved):
    before = all_hashes(copy)
    edited(copy, file, old, new)
    after = all_hashes(copy)
    assert {name for name in before if before[name] != after[name]} == moved


def test_a_changed_metric_is_the_only_one_with_another_key(copy):
    before = all_hashes(copy)
    edited(copy, "benchmark/metrics/surrogate.py", "version=1", "version=2")
    after = all_hashes(copy)
    changed = {name for name in before if before[name] != after[name]}
    assert len(changed) == 1 and changed < set(registry.metrics())


def test_an_explanation_is_kept_until_what_it_depends_on_changes(trained, monkeypatch):
    (cell,) = cells_of(trained, registry.MethodRef.parse(METHODS[0], base=ROOT))
    explain.explain_cell(cell)
    assert explain.is_explained(cell)
    assert explain.explain_cell(cell) == engine.KEPT
    monkeypatch.setattr(keys, "step_hash", lambda step: "another")
    assert not explain.is_explained(cell)


def test_maps_that_are_damaged_are_made_again_though_the_key_is_right(trained):
    (cell,) = cells_of(trained, registry.MethodRef.parse(METHODS[0], base=ROOT))
    explain.explain_cell(cell)
    whole = cell.explanation.read_bytes()
    with zipfile.ZipFile(cell.explanation) as archive:
        maps = archive.getinfo("heatmaps.npy")
    at = maps.header_offset + maps.compress_size // 2
    cell.explanation.write_bytes(
        whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]
    )
    assert explain.is_explained(cell)  # by its key
    assert explain.explain_cell(cell) is None
    assert cell.explanation.read_bytes() == whole


def test_a_new_metric_is_computed_by_itself(trained, monkeypatch):
    (cell,) = cells_of(trained, registry.MethodRef.parse(METHODS[0], base=ROOT))
    everything = registry.metrics()
    explain.explain_cell(cell)
    monkeypatch.setattr(
        registry,
        "metrics",
        lambda: {k: v for k, v in everything.items() if k != "gini"},
    )
    score.score_cell(cell)
    monkeypatch.setattr(registry, "metrics", lambda: everything)
    asked = []
    monkeypatch.setattr(
        score,
        "measure",
        lambda cell, spec, *rest: asked.append(spec.name) or measure(cell, spec, *rest),
    )
    score.score_cell(cell)
    assert asked == ["gini"]
    assert score.is_scored(cell)


@pytest.mark.parametrize("step", keys.STEPS)
def test_what_follows_a_network_is_in_the_key_of_no_step(step):
    """It is in those of the networks that are followed."""
    reached = keys.CODE.reached(keys.STEPS[step])
    assert "benchmark.zoo.following" not in {module for module, _ in reached}
