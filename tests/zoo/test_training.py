"""Training: determinism, resuming, batched networks, frozen features, files, and what is refused."""

import json
import math
import re

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from benchmark import store
from benchmark.api import Batch
from benchmark.data import Dataset
from benchmark.methods.registry import UnknownName
from benchmark.utils.seeds import seed_hash
from benchmark.zoo import inputs, nets, training
from benchmark.zoo.networks import Networks
from benchmark.zoo.recipe import Recipe

MLP = {
    "net": "mlp",
    "options": {"width": 16, "depth": 3},
    "epochs": 4,
    "batch": 50,
    "lr": 0.005,
    "normalise": "none",
}
CNN = {
    "net": "xnn_cnn",
    "epochs": 2,
    "batch": 64,
    "optimiser": "sgd",
    "lr": 0.05,
    "momentum": 0.9,
    "weight_decay": 1e-4,
}
VGG = {
    "net": "vgg11",
    "options": {"width": 0.1},
    "epochs": 3,
    "batch": 50,
    "schedule": "cosine",
    "shift": 1,
}
DROPOUT = {
    "net": "explainn_cnn",
    "epochs": 2,
    "batch": 64,
    "optimiser": "adadelta",
    "schedule": "step",
    "gamma": 0.5,
}


def make(train=150, test=60, size=16, channels=1, name="digits"):
    """scikit-learn's digits, enlarged by nearest neighbour."""
    x, y = load_digits(return_X_y=True)
    x = (x.reshape(-1, 1, 8, 8) * 255 / 16).astype(np.uint8)
    x = x.repeat(size // 8, axis=2).repeat(size // 8, axis=3).repeat(channels, axis=1)
    rows, y = np.split(x[: train + test], [train]), y.astype(np.int64)
    arrays = {
        "x_train": rows[0],
        "x_test": rows[1],
        "y_train": y[:train],
        "y_test": y[train : train + test],
    }
    return Dataset(name, arrays | {"classes": np.array([str(c) for c in range(10)])})


@pytest.fixture(scope="module")
def digits():
    return make()


@pytest.fixture
def always_save(monkeypatch):
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)


def stop_after(epochs):
    """A progress report that breaks off the run in the middle, as Ctrl-C does, at the end of epoch ``epochs``."""

    def progress(name, done, all_epochs, loss):
        if done > epochs:
            raise KeyboardInterrupt

    return progress


def names_in(folder):
    return sorted(p.name for p in folder.iterdir())


# --------------------------------------------------------------------------------------------- it learns


@pytest.mark.parametrize(
    "recipe, floor",
    [
        (
            {
                "net": "mlp",
                "options": {"width": 64, "depth": 3},
                "epochs": 15,
                "batch": 64,
                "lr": 0.003,
                "schedule": "cosine",
            },
            0.88,
        ),
        (
            {
                "net": "vgg11",
                "options": {"width": 0.25},
                "epochs": 4,
                "batch": 64,
                "lr": 0.004,
                "schedule": "cosine",
            },
            0.92,
        ),
    ],
)
def test_digits_are_learnt(tmp_path, recipe, floor):
    dataset = make(1400, 397)
    card = training.train(dataset, recipe, 0, tmp_path / "net-0.safetensors")
    assert card["test_accuracy"] >= floor
    target, batch = training.load(tmp_path / "net-0.safetensors"), dataset.batch("test")
    accuracy = (target(batch).argmax(1) == batch.y).double().mean().item()
    assert accuracy == card["test_accuracy"]  # the target normalises as training did
    assert (
        target.fingerprint()
        == training.load(tmp_path / "net-0.safetensors").fingerprint()
    )


SGD = {
    "net": "mlp",
    "options": {"width": 8, "depth": 2},
    "epochs": 3,
    "batch": 64,
    "optimiser": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-3,
    "schedule": "milestones",
    "milestones": [1, 2],
    "gamma": 0.5,
}


def literal_sgd(net, x, y):
    """Three epochs of minibatch SGD with momentum, decay and a step schedule, in the seeds' order."""
    velocity = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    for epoch, lr in enumerate([0.1, 0.05, 0.025]):
        seed = seed_hash("train", "digits", 7, "order", epoch)
        order = torch.randperm(150, generator=torch.Generator().manual_seed(seed))
        for rows in order.split(64):
            net.zero_grad()
            F.cross_entropy(net(x[rows]), y[rows]).backward()
            with torch.no_grad():
                for name, p in net.named_parameters():
                    velocity[name] = 0.9 * velocity[name] + p.grad + 1e-3 * p
                    p -= lr * velocity[name]


def test_the_loop_is_plain_sgd(tmp_path, digits):
    card = training.train(digits, SGD, 7, tmp_path / "m-7.safetensors")
    seed = seed_hash("train", "digits", 7, "init", "mlp")
    net = nets.build("mlp", (1, 16, 16), 10, SGD["options"], seed=seed)
    x = torch.from_numpy(digits.arrays["x_train"]).double() / 255
    x = ((x - x.mean()) / x.std(correction=0)).float()
    y = torch.from_numpy(digits.arrays["y_train"])
    literal_sgd(net, x, y)
    trained, literal = (
        store.read_weights(tmp_path / "m-7.safetensors"),
        net.state_dict(),
    )
    assert trained.keys() == literal.keys()
    assert all(
        torch.allclose(trained[name], literal[name], atol=1e-5) for name in literal
    )
    accuracy = (net(x).argmax(1) == y).double().mean().item()
    assert card["train_accuracy"] == pytest.approx(accuracy, abs=0.02)


# --------------------------------------------------------------------------------------------- the same bytes


@pytest.mark.parametrize("recipe", [MLP, CNN, VGG, DROPOUT], ids=lambda r: r["net"])
def test_same_seed_same_bytes_and_the_global_state_is_left_alone(
    tmp_path, digits, recipe
):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    for path, seed in (("a-0", 0), ("b-0", 0), ("c-1", 1)):
        training.train(digits, recipe, seed, tmp_path / f"{path}.safetensors")
        torch.rand(3)  # what others draw does not matter
    torch.set_rng_state(before)
    a, b, c = (
        (tmp_path / f"{n}.safetensors").read_bytes() for n in ("a-0", "b-0", "c-1")
    )
    assert a == b != c
    training.train(digits, recipe, 2, tmp_path / "d-2.safetensors")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "recipe", [MLP | {"schedule": "cosine"}, CNN, VGG, DROPOUT], ids=lambda r: r["net"]
)
def test_a_run_that_was_cut_off_ends_at_the_same_bytes(
    tmp_path, digits, recipe, always_save
):
    training.train(digits, recipe, 0, tmp_path / "whole-0.safetensors")
    path = tmp_path / "cut-0.safetensors"
    with pytest.raises(KeyboardInterrupt):
        training.train(digits, recipe, 0, path, progress=stop_after(1))
    assert (tmp_path / "cut-0.partial.safetensors").exists()
    assert not path.exists()
    seen = []
    training.train(
        digits, recipe, 0, path, progress=lambda name, done, *_: seen.append(done)
    )
    assert seen == list(range(2, recipe["epochs"] + 1))
    assert path.read_bytes() == (tmp_path / "whole-0.safetensors").read_bytes()
    assert names_in(tmp_path) == [
        "cut-0.json",
        "cut-0.safetensors",
        "whole-0.json",
        "whole-0.safetensors",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 0.004},
        {"epochs": 5},
        {"train_images": 100},
        {"options": {"width": 17, "depth": 3}},
    ],
)
def test_another_recipe_starts_over(tmp_path, digits, change, always_save):
    path = tmp_path / "m-0.safetensors"
    with pytest.raises(KeyboardInterrupt):
        training.train(digits, MLP, 0, path, progress=stop_after(2))
    seen = []
    training.train(
        digits, MLP | change, 0, path, progress=lambda name, done, *_: seen.append(done)
    )
    assert seen[0] == 1


def test_a_damaged_partial_file_costs_time_only(tmp_path, digits, always_save):
    path = tmp_path / "m-0.safetensors"
    training.train(digits, MLP, 0, path)
    expected = path.read_bytes()
    path.unlink()
    (tmp_path / "m-0.partial.safetensors").write_bytes(b"not a file of weights")
    training.train(digits, MLP, 0, path)
    assert path.read_bytes() == expected
    assert names_in(tmp_path) == ["m-0.json", "m-0.safetensors"]


# --------------------------------------------------------------------------------------------- done already


def untimed(card):
    """A card as its file has it: the same network is the same file, however long it took."""
    return {key: value for key, value in card.items() if key != "seconds"}


def test_other_code_trains_again(tmp_path, digits):
    ran = []
    path = tmp_path / "m-0.safetensors"
    for code in ("a", "a", "b"):
        training.train(
            digits, MLP, 0, path, progress=lambda name, *_: ran.append(name), code=code
        )
    assert len(ran) == 2 * 4


def test_a_second_run_returns_at_once_and_only_if_nothing_changed(tmp_path, digits):
    path = tmp_path / "m-0.safetensors"
    ran = []
    note = lambda name, done, *_: ran.append(name)
    card = training.train(
        digits, MLP | {"seeds": [0], "explain": True}, 0, path, progress=note
    )
    assert ran == ["digits/m/seed=0"] * 4
    ran.clear()
    assert training.train(
        digits, MLP | {"seeds": [0, 1], "explain": False}, 0, path, progress=note
    ) == untimed(card)
    assert not ran  # neither the other seeds nor the board decide the weights
    other = make()
    other.arrays["x_train"][0, 0, 0, 0] ^= 1
    for dataset, recipe, seed in (
        (digits, MLP | {"lr": 0.004}, 0),
        (digits, MLP, 1),
        (other, MLP, 0),
    ):
        training.train(dataset, recipe, seed, path, progress=note)
        assert ran, (recipe, seed)
        ran.clear()


@pytest.mark.parametrize("damage", ["weights", "card", "no weights", "failed card"])
def test_what_is_damaged_is_trained_again(tmp_path, digits, damage):
    path = tmp_path / "m-0.safetensors"
    card = training.train(digits, MLP, 0, path)
    raw = path.read_bytes()
    if damage == "weights":
        path.write_bytes(raw[:-8] + bytes(8))
    elif damage == "no weights":
        path.unlink()
    else:
        path.with_suffix(".json").write_text(
            "{" if damage == "card" else '{"failed": "out of memory"}'
        )
    again = training.train(digits, MLP, 0, path)
    assert path.read_bytes() == raw
    assert again | {"seconds": 0} == card | {"seconds": 0}


def test_the_card_says_what_it_is(tmp_path, digits):
    path = tmp_path / "vgg-half-3.safetensors"
    card = training.train(
        digits, VGG | {"train_images": 120, "layer": "conv2a"}, 3, path
    )
    assert untimed(card) == json.loads((tmp_path / "vgg-half-3.json").read_text())
    assert card["name"] == "digits/vgg-half/seed=3"
    assert card["images"] == {"train": 120, "test": 60}
    assert (card["net"], card["layer"], card["epochs"], card["seed"]) == (
        "vgg11",
        "conv2a",
        3,
        3,
    )
    assert card["parameters"] == sum(
        t.numel()
        for k, t in store.read_weights(path).items()
        if "running" not in k and "num_b" not in k
    )
    assert card["recipe"]["lr"] is None
    assert card["recipe"]["shift"] == 1
    assert {"torch", "numpy", "python", "torchvision"} == set(card["versions"])
    target = training.load(path)
    assert target.layer == "conv2a"
    assert target.features(digits.batch("test")).shape == (60, 13, 4, 4)
    mean, std = digits.statistics()
    assert (card["mean"], card["std"]) == (mean, std)


@pytest.mark.parametrize("normalise", ["none", "dataset"])
def test_the_training_pixels_are_known_whatever_the_network_normalises_by(
    tmp_path, digits, normalise
):
    path = tmp_path / "m-0.safetensors"
    training.train(digits, MLP | {"normalise": normalise, "epochs": 0}, 0, path)
    target = training.load(path)
    mean, std = digits.statistics()
    assert target.pixel_mean.flatten().tolist() == pytest.approx(mean)
    assert target.pixel_std.flatten().tolist() == pytest.approx(std)
    assert (target.std.item() == 1) == (normalise == "none")


# --------------------------------------------------------------------------------------------- stopping


def test_training_stops_at_the_asked_accuracy(tmp_path, digits):
    recipe = MLP | {
        "options": {"width": 64, "depth": 2},
        "epochs": 60,
        "stop_at_train_accuracy": 1.0,
        "check_every": 3,
    }
    card = training.train(digits, recipe, 0, tmp_path / "m-0.safetensors")
    assert card["train_accuracy"] == 1.0
    assert card["epochs"] < 60
    assert card["epochs"] % 3 == 0
    shorter = training.train(
        digits, recipe | {"epochs": card["epochs"] - 3}, 0, tmp_path / "n-0.safetensors"
    )
    assert shorter["train_accuracy"] < 1.0


def test_no_epochs_is_the_untrained_network(tmp_path, digits):
    card = training.train(digits, MLP | {"epochs": 0}, 0, tmp_path / "m-0.safetensors")
    net = nets.build(
        "mlp",
        (1, 16, 16),
        10,
        MLP["options"],
        seed=seed_hash("train", "digits", 0, "init", "mlp"),
    )
    assert card["epochs"] == 0
    found, initial = store.read_weights(tmp_path / "m-0.safetensors"), net.state_dict()
    assert found.keys() == initial.keys()
    assert all(torch.equal(found[name], initial[name]) for name in initial)


def test_divergence_is_said_with_the_way_out(tmp_path, digits):
    path = tmp_path / "m-0.safetensors"
    with pytest.raises(
        training.TrainingError,
        match=r"digits/m/seed=0 diverged in epoch \d \(loss (nan|inf)\); lower lr",
    ):
        training.train(
            digits, CNN | {"lr": 1000, "weight_decay": 1.0, "epochs": 3}, 0, path
        )
    assert names_in(tmp_path) == []


def test_a_last_step_into_infinity_is_divergence_too(tmp_path, digits, monkeypatch):
    """The loss of an epoch is that of the weights before its steps: finite, while the last step was not."""

    def epoch(jobs, model, *rest, original=training._epoch):
        loss = original(jobs, model, *rest)
        model.parameters["logits.weight"].data[..., 0] = torch.inf
        return loss

    monkeypatch.setattr(training, "_epoch", epoch)
    with pytest.raises(training.TrainingError, match="diverged in epoch 1"):
        training.train(digits, MLP | {"epochs": 1}, 0, tmp_path / "m-0.safetensors")
    assert names_in(tmp_path) == []


def test_a_last_batch_of_one_image_suits_batch_norm(tmp_path):
    card = training.train(
        make(51, 20, size=8), VGG | {"epochs": 1}, 0, tmp_path / "v-0.safetensors"
    )
    assert math.isfinite(card["train_accuracy"])


# --------------------------------------------------------------------------------------------- many as one


@pytest.mark.parametrize("recipe", [MLP, CNN], ids=lambda r: r["net"])
def test_batched_training_equals_single_training(tmp_path, digits, recipe):
    single = [
        training.train(digits, recipe, s, tmp_path / f"one-{s}.safetensors")
        for s in range(3)
    ]
    jobs = [(recipe, s, tmp_path / f"many-{s}.safetensors") for s in range(3)]
    many = training.train_many(digits, jobs, batched=True)
    for s in range(3):
        assert many[s]["seed"] == s
        assert many[s]["key"] == single[s]["key"]
        assert many[s]["test_accuracy"] == pytest.approx(
            single[s]["test_accuracy"], abs=0.04
        )
        one, other = (
            store.read_weights(tmp_path / f"{n}-{s}.safetensors")
            for n in ("one", "many")
        )
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype
            assert torch.allclose(
                one[name].float(), other[name].float(), atol=1e-5, rtol=1e-3
            ), name


def three_steps(model, members, recipe, x, y):
    """Of the networks ``members``, each on its own images (steps, K, b, ...)."""
    optimiser = recipe.optimiser_for(list(model.parameters.values()))
    for step in range(3):
        logits = model(x[step, members])
        loss = F.cross_entropy(
            logits.flatten(0, 1), y[step, members].flatten(), reduction="none"
        )
        optimiser.zero_grad()
        loss.view(len(members), 10).mean(1).sum().backward()
        optimiser.step()


def test_batched_batch_norm_keeps_each_networks_own_statistics(digits):
    """In float64, where steps through batch norm do not blow rounding up: weights and running statistics agree."""

    def build(seed):
        net = nets.build("resnet10", (1, 16, 16), 10, {"width": 0.1}, seed=seed)
        return net.double().train()

    recipe = Recipe.parse(
        {
            "net": "resnet10",
            "epochs": 1,
            "optimiser": "sgd",
            "lr": 0.05,
            "momentum": 0.9,
        }
    )
    x = (
        torch.from_numpy(digits.arrays["x_train"][:90])
        .double()
        .view(3, 3, 10, 1, 16, 16)
        / 255
    )
    y = torch.from_numpy(digits.arrays["y_train"][:90]).view(3, 3, 10)
    many = Networks([build(k) for k in range(3)])
    three_steps(many, [0, 1, 2], recipe, x, y)
    for k in range(3):
        single = Networks([build(k)])
        three_steps(single, [k], recipe, x, y)
        expected, found = single.member(0), many.member(k)
        assert all(
            torch.allclose(found[name], expected[name], atol=1e-9) for name in found
        )
        assert expected["stem.1.num_batches_tracked"] == 3


def test_each_batched_network_stops_by_itself(tmp_path, digits):
    recipe = MLP | {
        "options": {"width": 64, "depth": 2},
        "epochs": 60,
        "stop_at_train_accuracy": 1.0,
        "check_every": 1,
    }
    single = [
        training.train(digits, recipe, s, tmp_path / f"one-{s}.safetensors")
        for s in range(4)
    ]
    many = training.train_many(
        digits,
        [(recipe, s, tmp_path / f"many-{s}.safetensors") for s in range(4)],
        batched=True,
    )
    assert [card["epochs"] for card in many] == [card["epochs"] for card in single]
    assert len({card["epochs"] for card in single}) > 1
    for s in range(4):
        one, other = (
            store.read_weights(tmp_path / f"{n}-{s}.safetensors")
            for n in ("one", "many")
        )
        assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)


def test_a_batched_run_resumes_and_groups_by_recipe(tmp_path, digits, always_save):
    other = MLP | {"lr": 0.001}
    jobs = [(MLP, 0, "a"), (other, 0, "b"), (MLP, 1, "c"), (CNN, 0, "d")]
    whole = [
        (recipe, seed, tmp_path / "whole" / f"{n}-{seed}.safetensors")
        for recipe, seed, n in jobs
    ]
    cut = [
        (recipe, seed, tmp_path / "cut" / f"{n}-{seed}.safetensors")
        for recipe, seed, n in jobs
    ]
    cards = training.train_many(digits, whole, batched=True)
    assert [card["name"] for card in cards] == [
        "digits/a/seed=0",
        "digits/b/seed=0",
        "digits/c/seed=1",
        "digits/d/seed=0",
    ]
    with pytest.raises(KeyboardInterrupt):
        training.train_many(digits, cut, batched=True, progress=stop_after(2))
    assert names_in(tmp_path / "cut") == [
        "a-0.partial.safetensors",
        "c-1.partial.safetensors",
    ]
    training.train_many(digits, cut, batched=True)
    for (_, _, a), (_, _, b) in zip(whole, cut, strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_dropout_is_batched_too(tmp_path, digits):
    jobs = [
        (DROPOUT, s, tmp_path / f"{n}-{s}.safetensors") for n in "ab" for s in range(2)
    ]
    training.train_many(digits, jobs[:2], batched=True)
    training.train_many(digits, jobs[2:], batched=True)
    raw = [path.read_bytes() for _, _, path in jobs]
    assert raw[0] == raw[2] != raw[1] == raw[3]


def test_one_diverged_network_does_not_take_the_others_along(
    tmp_path, digits, monkeypatch
):
    def start(job, device, original=training._start):
        net = original(job, device)
        if job.seed == 1:
            net.logits.weight.data.fill_(torch.inf)
        return net

    monkeypatch.setattr(training, "_start", start)
    jobs = [(MLP, s, tmp_path / f"many-{s}.safetensors") for s in range(3)]
    with pytest.raises(
        training.TrainingError, match=r"^digits/many/seed=1 diverged in epoch 1"
    ):
        training.train_many(digits, jobs, batched=True)
    assert names_in(tmp_path) == [
        f"many-{s}.{kind}" for s in (0, 2) for kind in ("json", "safetensors")
    ]


# --------------------------------------------------------------------------------------------- frozen and augmented


@pytest.fixture
def frozen(tmp_path, digits, monkeypatch):
    """Two networks trained behind frozen layers at once: (recipe, their files, the networks whose
    features were asked for)."""
    calls, original = [], inputs.features

    def features(psi, *rest):
        calls.append(psi)
        return original(psi, *rest)

    monkeypatch.setattr(training, "features", features)
    recipe = VGG | {"freeze_until": "conv2", "shift": 0}
    jobs = [(recipe, 0, tmp_path / f"{n}-0.safetensors") for n in "ab"]
    training.train_many(digits, jobs)
    return recipe, [path for _, _, path in jobs], calls


def test_frozen_layers_stay(frozen, digits):
    recipe, (path, _), _ = frozen
    seed = seed_hash("train", "digits", 0, "init", "vgg11")
    start = nets.build("vgg11", (1, 16, 16), 10, recipe["options"], seed=seed)
    trained = store.read_weights(path)
    same = {
        name for name, w in start.state_dict().items() if torch.equal(trained[name], w)
    }
    layers = ("conv0.", "conv1.", "conv2a.", "conv2.")
    assert same == {name for name in trained if name.startswith(layers)} != set()
    target, batch = training.load(path), digits.batch("test")
    accuracy = (target(batch).argmax(1) == batch.y).double().mean().item()
    assert accuracy == store.read_json(path.with_suffix(".json"))["test_accuracy"]


def test_features_of_frozen_layers_are_computed_once(frozen, digits):
    recipe, (path, _), calls = frozen
    cache = {}
    data = inputs.pixels(digits, Recipe.parse(recipe), torch.device("cpu"), cache)
    first = inputs.features(calls[0], data, cache)
    assert inputs.features(calls[1], data, cache) is first
    features = training.load(path).features(digits.batch("test"), "conv2")
    assert torch.allclose(first.x_test, features, atol=1e-5)


def test_augmentation_by_hand():
    x = torch.arange(6, dtype=torch.uint8).view(1, 1, 2, 3)  # 0 1 2 / 3 4 5
    image = lambda flip, move: inputs.augment(
        x, torch.tensor([flip]), torch.tensor([move])
    )[0, 0].tolist()
    assert image(False, [0, 0]) == [[0, 1, 2], [3, 4, 5]]
    assert image(True, [0, 0]) == [[2, 1, 0], [5, 4, 3]]
    assert image(False, [1, 0]) == [[0, 1, 2], [0, 1, 2]]  # down, the edge repeated
    assert image(False, [0, 1]) == [[0, 0, 1], [3, 3, 4]]  # right
    assert image(True, [0, 1]) == [[1, 0, 0], [4, 3, 3]]  # right, then mirrored
    assert image(False, [0, -2]) == [[2, 2, 2], [5, 5, 5]]
    two = inputs.augment(
        x.expand(2, 1, 2, 3),
        torch.tensor([False, True]),
        torch.tensor([[0, 0], [0, 0]]),
    )
    assert two[:, 0].tolist() == [[[0, 1, 2], [3, 4, 5]], [[2, 1, 0], [5, 4, 3]]]


def test_draws_of_augmentation():
    recipe = Recipe.parse({"net": "vgg11", "epochs": 1, "flip": True, "shift": 2})
    flip, move = inputs.draw(recipe, 2000, torch.Generator().manual_seed(0))
    assert 0.45 < flip.double().mean() < 0.55
    assert set(move.flatten().tolist()) == {-2, -1, 0, 1, 2}
    assert not inputs.draw(
        Recipe.parse({"net": "vgg11", "epochs": 1, "shift": 2}), 2000, torch.Generator()
    )[0].any()


def test_evaluation_in_chunks_is_evaluation_of_all(digits, monkeypatch):
    data = inputs.pixels(digits, Recipe.parse(MLP), torch.device("cpu"), {})
    model = Networks([nets.build("mlp", (1, 16, 16), 10, seed=s) for s in range(2)])
    expected = model.accuracy(data, data.x_train, data.y_train)
    monkeypatch.setattr(inputs, "_CHUNK_VALUES", 16 * 256 + 1)
    assert inputs.chunk(data.x_train) == 16
    assert model.accuracy(data, data.x_train, data.y_train) == expected


# --------------------------------------------------------------------------------------------- damaged and bad


@pytest.fixture
def saved(tmp_path, digits):
    """(Weights, card) of a trained network."""
    path = tmp_path / "m-0.safetensors"
    return path, training.train(digits, MLP, 0, path)


def refusal(path):
    with pytest.raises(store.StoreError) as error:
        training.load(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_load_refuses_missing_weights(tmp_path):
    assert "m-0.json is missing" in refusal(tmp_path / "m-0.safetensors")


def test_load_refuses_damaged_weights(saved):
    path, _ = saved
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    said = refusal(path)
    assert re.search(r"m-0\.safetensors is damaged .* delete it and run again", said)
    path.write_bytes(raw[:-4] + b"\1\2\3\4")  # still a readable file
    said = refusal(path)
    assert (
        "m-0.safetensors is damaged (not the weights of m-0.json); train again" in said
    )


@pytest.mark.parametrize(
    "change",
    [
        {"options": {"width": 15, "depth": 3}},
        {"net": "xnn_cnn", "options": {}},
        {"input_shape": [1, 8, 8]},
        {"layer": "conv9"},
        {"mean": None},
    ],
)
def test_load_refuses_a_card_that_does_not_fit(saved, change):
    path, card = saved
    store.write_json(path.with_suffix(".json"), card | change)
    said = refusal(path)
    assert re.search(
        r"m-0\.json does not fit its weights \(.*\); delete both and train again", said
    )


def test_load_refuses_a_failed_training_and_a_damaged_card(saved):
    path, _ = saved
    store.write_json(path.with_suffix(".json"), {"failed": "ValueError: no memory"})
    said = refusal(path)
    assert "is not a trained network: ValueError: no memory; correct the recipe" in said
    path.with_suffix(".json").write_text("[")
    assert "m-0.json is damaged" in refusal(path)


@pytest.mark.parametrize(
    "recipe, message",
    [
        ({"net": "mlp"}, "needs epochs"),
        (MLP | {"epoch": 3}, "no key of a recipe 'epoch'; did you mean epochs"),
        (
            MLP | {"optimiser": "adm"},
            r"no optimiser \(of a recipe\) 'adm'; did you mean adam",
        ),
        (MLP | {"schedule": "cosin"}, "did you mean cosine"),
        (
            MLP | {"lr": "1e-3"},
            r"lr must be a number in \[0, 1000\], not '1e-3'; YAML reads 1e-3 as text",
        ),
        (MLP | {"lr": -1}, "lr must be a number"),
        (MLP | {"lr": True}, "lr must be a number"),
        (MLP | {"epochs": 2.5}, "epochs must be an integer"),
        (MLP | {"batch": 1}, "batch must be an integer"),
        (MLP | {"seeds": "012"}, "seeds must be a list of integers"),
        (MLP | {"seeds": 3}, "seeds must be a list of integers"),
        (MLP | {"explain": "no"}, "explain must be true or false"),
        (MLP | {"options": [1]}, "options must be a mapping"),
        (MLP | {"gamma": 0.5}, "schedule none does not use gamma"),
        (MLP | {"schedule": "milestones"}, "needs milestones"),
        (MLP | {"momentum": 0.9}, "adam does not use momentum"),
        (MLP | {"pretrained": "imagenet"}, "no pretrained weights for mlp"),
        (
            MLP | {"freeze_until": "fc1", "flip": True},
            "freeze_until computes features once",
        ),
        (
            MLP | {"freeze_until": "fc9"},
            "no layer to freeze in mlp 'fc9'; did you mean fc",
        ),
        (MLP | {"layer": "conv1"}, "no layer of mlp 'conv1'"),
        (MLP | {"options": {"depth": 0}}, "depth at least 1"),
        (MLP | {"normalise": "imagenet"}, "3 channels, digits has 1"),
        (
            {"net": "squeezenet1_0", "epochs": 1},
            "net squeezenet1_0 with options .* images .1, 16, 16.",
        ),
    ],
)
def test_bad_recipes_are_one_line_and_write_nothing(tmp_path, digits, recipe, message):
    with pytest.raises((ValueError, UnknownName), match=message) as error:
        training.train(digits, recipe, 0, tmp_path / "m-0.safetensors")
    assert "\n" not in str(error.value)
    assert names_in(tmp_path) == []


def test_schedules_by_hand():
    rates = lambda epochs, **recipe: [
        Recipe.parse({"net": "mlp", "epochs": 4, "lr": 0.8, **recipe}).rate(e)
        for e in epochs
    ]
    assert rates([0, 3.9], schedule="none") == [0.8, 0.8]
    assert rates([0, 1.9, 2, 5], schedule="step", gamma=0.5, every=2) == [
        0.8,
        0.8,
        0.4,
        0.2,
    ]
    assert rates(
        [0, 1, 2.5, 3], schedule="milestones", gamma=0.5, milestones=[1, 3]
    ) == [
        0.8,
        0.4,
        0.4,
        0.2,
    ]
    assert rates([0, 2, 4], schedule="cosine") == pytest.approx([0.8, 0.4, 0])
    cycle = rates([0, 0.5, 1, 2.5, 4], schedule="one_cycle")
    assert cycle == pytest.approx([0, 0.4, 0.8, 0.4, 0])
    untrained = Recipe.parse(MLP | {"epochs": 0, "schedule": "cosine", "lr": 0.8})
    assert untrained.rate(0) == 0.8
    assert (
        Recipe.parse({"net": "mlp", "epochs": 1, "optimiser": "adadelta"}).rate(0)
        == 1.0
    )  # Keras before TF 2


def test_the_paper_of_layer_trees_decays_every_five_epochs():
    recipe = Recipe.parse(
        MLP | {"lr": 0.001, "schedule": "step", "gamma": 0.99, "every": 5}
    )
    assert [recipe.rate(e) for e in (4, 5, 10)] == pytest.approx(
        [0.001, 0.00099, 0.0009801]
    )


def test_targets_accept_batches(tmp_path, digits):
    training.train(digits, CNN, 0, tmp_path / "c-0.safetensors")
    target = training.load(tmp_path / "c-0.safetensors")
    batch = Batch(x=digits.batch("test").x, y=digits.batch("test").y, chunk=7)
    assert torch.allclose(
        target.head(target.features(batch)), target(batch.x), atol=1e-6
    )
