"""Every method and experiment of the profile ``paper``, with settings for a toy."""

import yaml

from benchmark.cli import main

PAPER = yaml.safe_load(main.profiles()["paper"].read_text())

SETTINGS = {  # of methods, for a toy
    "ClaDec": {"epochs": 2, "base": 8, "batch": 16},
    "XNN": {"hidden": [16, 8], "epochs": 4, "restarts": 0},
    "ACE": {"segments": [15, 50], "images": 20, "clusters": 12},
    "IntegratedGradients": {"steps": 6},
    "KernelSHAP": {"segments": 20, "samples": 40},
    "LIME": {"segments": 20, "samples": 40},
    "RISE": {"masks": 40},
    "SmoothGrad": {"samples": 6},
}


def methods():
    """As the profile ``paper`` lists them."""
    for entry in PAPER["explain"]["methods"]:
        entry = {"use": entry} if isinstance(entry, str) else dict(entry)
        yield entry | SETTINGS.get(entry["use"].rpartition(":")[2], {})


def named(entry):
    return " ".join(
        str(value).rpartition(":")[2]
        for key, value in entry.items()
        if key in ("use", "of", "variant")
    )


SMALL = {"hidden": [16, 8], "epochs": 3, "pretrain": 2, "batch": 32, "restarts": 0}
TRAINED = {"epochs": 2, "batch": 32}
CLADEC = {"base": 8, "decoding": TRAINED, "evaluation": TRAINED | {"lr": 0.01}}
EXPERIMENTS = {  # settings of each experiment, for a toy
    "layer_trees.trees": {"thresholds": [0, 2], "layers": ["pool1", "fc1"]},
    "layer_trees.duplicates": {"layer": "fc1"},
    "layer_trees.drawing": {"layer": "fc1", "maps": "gradient"},
    "cladec.layers": {"layers": {-1: "logits", -3: "conv2"}, "occlude": [-3], **CLADEC},
    "cladec.alphas": {"layer": "conv2", "alphas": [1, 0.9, 0], **CLADEC},
    "cladec.epochs": {"layer": "conv2", "epochs": [0, 1], **CLADEC},
    "cladec.subsets": {
        "layer": "fc1",
        "nested": [1, 8],
        "disjoint": 1,
        "base": 8,
        "decoding": TRAINED,
    },
    "cladec.linear": {"hidden": [1, 3], "training": TRAINED},
    "cladec.prototypes": {
        "layer": "fc1",
        "count": 4,
        "base": 8,
        "decoding": TRAINED,
        "training": {"epochs": 2, "batch": 32},
    },
    "xnn.table1": {
        "training": SMALL,
        "negatives": 40,
        "alphas": [1.0],
        "images": 2,
        "z_units": 6,
    },
    "xnn.degeneration": {"training": SMALL, "negatives": 40},
    "xnn.counts": {"training": SMALL, "negatives": 40, "n": [2, 5]},
    "xnn.tuning": {
        "training": SMALL,
        "negatives": 40,
        "betas": [1, 5],
        "etas": [5],
        "folds": 2,
    },
    "xnn.human_study": {"training": SMALL, "classes": [0, 2]},
    "xnn.convolutional": {
        "training": SMALL,
        "layers": ["pool1", "pool2"],
        "dense": "fc1",
        "negatives": 20,
    },
    "representative.unseen": {
        "references": 60,
        "unseen": 20,
        "runs": 2,
        "n_boundaries": 10,
        "sizes": [1, 5],
        "per_class": 2,
        "ace": {"segments": [15], "clusters": 2},
    },
    "representative.similar": {
        "references": 60,
        "inputs": 6,
        "K": [1, 8],
        "n_boundaries": 10,
        "ace": {"segments": [15], "images": 20, "clusters": 2},
    },
    "explainn.worked_example": {},
    "explainn.planted": {"m": 5, "n": 500},
    "explainn.rules": {"layers": ["fc1", "conv2"]},
    "explainn.intervention": {},
    "explainn.flow": {"layers": ["fc1", "conv2"], "steps": 8},
    "explainn.prototypes": {"steps": 8},
    "explainn.traits": {"steps": 8},
    "explainn.fine_tuning": {"steps": 8},
}
NO_DATA = {"worked_example", "planted"}


def experiments():
    """Those of the profile ``paper``, each once."""
    return sorted(
        {
            f"{paper}.{entry['experiment']}"
            for paper, entries in PAPER["replicate"].items()
            for entry in entries
        }
    )
