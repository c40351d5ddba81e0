"""Toybirds: the annotations agree with the pixels, and only the marks tell the class."""

import hashlib
import importlib.util
from itertools import combinations
from math import factorial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmark import data
from benchmark.data import download
from benchmark.shared import toybirds
from benchmark.utils.seeds import generator
from tests.helpers.places import ROOT

SCRIPT = ROOT / "datasets" / "toybirds.py"


@pytest.fixture(scope="module")
def toy():
    """What the script and the module that it draws with define."""
    spec = importlib.util.spec_from_file_location("datasets_toybirds", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return SimpleNamespace(**vars(toybirds) | vars(module))


@pytest.fixture(scope="module", params=[48, 64])
def birds(toy, request):
    """scene, x, owner, boxes, parts, visible of 240 birds."""
    scene = toy.draw_scene(generator("test toybirds"), 240)
    x, owner = toy.render(scene, request.param)
    return scene, x, owner, *toy.annotate(scene, owner)


# --------------------------------------------------------------------------------------------- classes


def test_any_two_classes_differ_in_a_mark_that_both_require(toy):
    for a, b in combinations(toy.RULES, 2):
        assert any(i != j and toy.ANY not in (i, j) for i, j in zip(a, b))
    assert len(set(toy.class_names())) == len(toy.RULES) == 8


def test_every_value_of_every_mark_is_required(toy):
    for rule, values in zip(toy.RULES.T, toy.MARKS.values()):
        assert set(rule) - {toy.ANY} == set(range(len(values)))


def ruled_out(toy, c, known):
    """v(S): the share of the other classes that the marks ``known`` tell from class c."""
    rules = toy.RULES

    def tells(d, m):
        return rules[c, m] != rules[d, m] and toy.ANY not in (rules[c, m], rules[d, m])

    others = [d for d in range(len(rules)) if d != c]
    return sum(any(tells(d, m) for m in known) for d in others) / len(others)


def shapley_value(toy, c, m):
    """The slow, literal twin: the mean marginal contribution of mark m over all orders of the marks."""
    marks = len(toy.MARKS)
    rest = [k for k in range(marks) if k != m]
    value = 0.0
    for size in range(marks):
        orders = factorial(size) * factorial(marks - size - 1) / factorial(marks)
        for s in combinations(rest, size):
            value += orders * (ruled_out(toy, c, [*s, m]) - ruled_out(toy, c, s))
    return value


def test_importance_is_the_shapley_value(toy):
    importance = toy.importance()
    for c in range(len(toy.RULES)):
        for m, mark in enumerate(toy.MARKS):
            carriers = [toy.PARTS.index(part) for part in toy.CARRIERS[mark]]
            value = shapley_value(toy, c, m) / len(carriers)
            assert importance[c, carriers] == pytest.approx(value, abs=1e-7)


def test_importance_adds_up_and_lies_on_marks_alone(toy):
    importance = toy.importance()
    assert importance.sum(1) == pytest.approx(1)
    assert all(
        ruled_out(toy, c, range(len(toy.MARKS))) == 1 for c in range(len(toy.RULES))
    )
    unmarked = [
        i
        for i, part in enumerate(toy.PARTS)
        if part not in sum(toy.CARRIERS.values(), ())
    ]
    assert (importance[:, unmarked] == 0).all()


def test_importance_by_hand(toy):
    """Class 0 requires a red crown, a spotted wing and a white breast. The crown rules out 1 and 2; the wing 3, 5, 6,
    7; the breast 3 and 4. Only class 3 is ruled out twice: crown 2/7, wing 3.5/7, breast 1.5/7."""
    row = dict(zip(toy.PARTS, toy.importance()[0]))
    expected = {
        "crown": 2 / 7,
        "left wing": 1.75 / 7,
        "right wing": 1.75 / 7,
        "breast": 1.5 / 7,
    }
    assert row == pytest.approx({part: expected.get(part, 0) for part in toy.PARTS})


def test_repainting_a_part_that_does_not_matter_keeps_the_class(toy):
    scene = toy.draw_scene(generator("test toybirds"), 80)
    x, owner = toy.render(scene, 48)
    assert np.array_equal(toy.classify(scene["values"]), scene["y"])
    importance = toy.importance()
    for m, (mark, names) in enumerate(toy.MARKS.items()):
        painted = scene["values"].copy()
        painted[:, m] = (painted[:, m] + 1) % len(names)
        matters = importance[scene["y"]][:, toy.PARTS.index(toy.CARRIERS[mark][0])] > 0
        assert matters.any()
        assert not matters.all()
        assert np.array_equal(toy.classify(painted) == scene["y"], ~matters)
        x2, owner2 = toy.render({**scene, "values": painted}, 48)
        assert np.array_equal(owner, owner2)
        change = np.abs(x.astype(int) - x2).sum(1)  # (n, 48, 48)
        mine = np.isin(owner, [toy.PARTS.index(part) for part in toy.CARRIERS[mark]])
        near = np.pad(mine, ((0, 0), (2, 2), (2, 2)))
        near = np.lib.stride_tricks.sliding_window_view(near, (5, 5), (1, 2)).any(
            (3, 4)
        )
        assert (change * mine).any((1, 2)).all()
        assert (
            change * ~near
        ).sum() < 0.005 * change.sum()  # but for tips and slivers thinner than a pixel


# --------------------------------------------------------------------------------------------- pixels


def test_boxes_are_tight(toy, birds):
    _, _, owner, boxes, *_ = birds
    for image, (x0, y0, x1, y1) in zip(owner, boxes.astype(int), strict=True):
        bird = (image >= 0) & (image != toy.COVER)
        rows, columns = np.nonzero(bird)
        assert (x0, y0, x1, y1) == (
            columns.min(),
            rows.min(),
            columns.max() + 1,
            rows.max() + 1,
        )


def test_a_part_is_visible_if_its_pixel_shows_it(toy, birds):
    _, _, owner, boxes, parts, visible = birds
    i, p = np.nonzero(visible)
    assert len(i)
    x, y = parts[i, p].T
    np.testing.assert_array_equal(owner[i, y.astype(int), x.astype(int)], p)
    assert (boxes[i, 0] <= x).all() and (x <= boxes[i, 2]).all()
    assert (boxes[i, 1] <= y).all() and (y <= boxes[i, 3]).all()
    assert not parts[~visible].any()


def test_every_part_is_seen_sometimes_and_eyes_from_their_side(toy, birds):
    scene, *_, visible = birds
    right = scene["flip"] > 0
    index = toy.PARTS.index
    assert not visible[right, index("left eye")].any()
    assert not visible[~right, index("right eye")].any()
    assert visible[right, index("right eye")].mean() > 0.95
    for part in toy.PARTS:
        assert visible[:, index(part)].mean() > 0.2
    assert (visible.mean(0) < 0.99).sum() >= 9  # most are hidden sometimes


def test_the_marks_are_always_in_sight_and_large(toy, birds):
    scene, _, owner, *_, visible = birds
    size = owner.shape[1]
    for part in ("crown", "beak", "tail", "breast"):
        assert visible[:, toy.PARTS.index(part)].all()
        assert (
            (owner == toy.PARTS.index(part)).sum((1, 2)) >= 8 * (size / 48) ** 2
        ).all()
    near = np.where(
        scene["flip"] > 0, toy.PARTS.index("right wing"), toy.PARTS.index("left wing")
    )
    assert visible[np.arange(len(near)), near].all()
    assert ((owner == near[:, None, None]).sum((1, 2)) >= 40 * (size / 48) ** 2).all()


def test_a_mark_has_the_colour_of_its_value(toy, birds):
    scene, x, _, _, parts, _ = birds
    for m, mark in enumerate(toy.MARKS):
        if mark == "wing":  # a pattern
            continue
        at = np.floor(parts[:, toy.PARTS.index(mark)]).astype(int)
        seen = x[np.arange(len(x)), :, at[:, 1], at[:, 0]] / 255
        wanted = np.array(
            [toy.COLOURS[toy.MARKS[mark][v]] for v in scene["values"][:, m]]
        )
        assert np.abs(seen - wanted).max() < 0.01


def test_poses_vary(birds):
    scene, _, _, boxes, *_ = birds
    assert 0.4 < (scene["flip"] > 0).mean() < 0.6
    assert (boxes[:, :2].std(0) > 1).all()
    assert ((boxes[:, 2:] - boxes[:, :2]).std(0) > 1).all()


# --------------------------------------------------------------------------------------------- background


def accuracy(features, y, train):
    """Of a ridge classifier on standardised features, on the images that it was not fitted on."""
    features = (features - features[:train].mean(0)) / (features[:train].std(0) + 1e-9)
    features = np.concatenate([features, np.ones((len(y), 1))], 1)
    gram = features[:train].T @ features[:train] + 10 * np.eye(features.shape[1])
    weights = np.linalg.solve(gram, features[:train].T @ np.eye(8)[y[:train]])
    return ((features[train:] @ weights).argmax(1) == y[train:]).mean()


def statistics(x, mask):
    """Mean, standard deviation and histogram of each channel over the pixels of a mask: (n, 3 * 10)."""
    count = mask.sum((1, 2))[:, None]
    x = x / 255
    mean = (x * mask[:, None]).sum((2, 3)) / count
    std = np.sqrt(((x**2 * mask[:, None]).sum((2, 3)) / count - mean**2).clip(0))
    bins = [
        ((x >= i / 8) & (x < (i + 1) / 8) & mask[:, None]).sum((2, 3)) / count
        for i in range(8)
    ]
    return np.concatenate([mean, std, *bins], 1)


@pytest.fixture(scope="module")
def drawn(toy):
    """(x, owner, classes) of 1,200 birds, of which 800 are for training."""
    scene = toy.draw_scene(generator("test background"), 1200)
    return *toy.render(scene, 40), scene["y"]


def thumbnails(x):
    """(n, c, 40, 40) as (n, 64 c): means of squares of 5 x 5 pixels."""
    return x.reshape(len(x), -1, 8, 5, 8, 5).mean((3, 5)).reshape(len(x), -1)


def test_the_background_does_not_help(toy, drawn):
    x, owner, y = drawn
    outside = (owner == toy.BACKGROUND) | (owner == toy.COVER)
    outside &= (
        np.roll(outside, 1, 1)
        & np.roll(outside, -1, 1)
        & np.roll(outside, 1, 2)
        & np.roll(outside, -1, 2)
    )
    chance = 1 / 8 + 3 * np.sqrt(1 / 8 * 7 / 8 / 400)  # three standard errors
    assert accuracy(statistics(x, outside), y, 800) < chance
    assert accuracy(thumbnails(x * outside[:, None]), y, 800) < chance
    assert accuracy(thumbnails(outside), y, 800) < chance  # the outline


def test_the_marks_tell_the_class(toy, drawn):
    """To the classifier that sees nothing in the background."""
    x, owner, y = drawn
    carriers = [[toy.PARTS.index(p) for p in parts] for parts in toy.CARRIERS.values()]
    marks = [statistics(x, np.isin(owner, parts)) for parts in carriers]
    assert accuracy(np.concatenate(marks, 1), y, 800) > 0.8


def test_nuisances_are_drawn_alike_for_every_class(toy):
    """Nothing but y and the values differs between scenes that are told to have other classes."""

    class Other:  # a generator whose first draw, the classes, is turned round
        def __init__(self):
            self.rng, self.calls = generator("test nuisances"), 0

        def __getattr__(self, name):
            return getattr(self.rng, name)

        def permutation(self, y):
            return self.rng.permutation(y)[::-1]

    one, two = (
        toy.draw_scene(generator("test nuisances"), 64),
        toy.draw_scene(Other(), 64),
    )
    assert not np.array_equal(one["y"], two["y"])
    nuisances = one.keys() - {"y", "values"}
    assert nuisances
    assert all(np.array_equal(one[key], two[key]) for key in nuisances)


# --------------------------------------------------------------------------------------------- the script


def test_the_same_bytes_every_time(toy):
    scene = toy.draw_scene(generator("test golden"), 24)
    x, _ = toy.render(scene, 48)
    again, _ = toy.render(toy.draw_scene(generator("test golden"), 24), 48, chunk=7)
    assert np.array_equal(x, again)
    assert (
        hashlib.sha256(x.tobytes()).hexdigest()
        == "f12c85a66511024883a97cd49dd190852dce209738eea451d11f836896e02687"
    )


def test_the_script_writes_a_data_set(toy, tmp_path):
    (tmp_path / "p.yaml").write_text("data: {toybirds: {train: 40, test: 16}}")
    options = [
        "--params",
        str(tmp_path / "p.yaml"),
        "--out",
        str(tmp_path / "toybirds.npz"),
    ]
    assert (
        download.main("toybirds", toy.prepare, toy.DEFAULTS, toy.__doc__, options) == 0
    )
    made = data.load(tmp_path / "toybirds.npz")
    assert made.input_shape == (3, 48, 48)
    assert np.bincount(made.arrays["y_train"]).tolist() == [5] * 8
    batch = made.batch("test")
    assert batch.annotations() == {"boxes", "parts", "part_importance"}
    assert batch.parts.shape == (16, 15, 2)
    assert batch.part_importance.sum(1).numpy() == pytest.approx(1)
    assert batch.part_masks.shape == (16, 48, 48) and set(
        batch.part_masks.unique().tolist()
    ) <= set(range(-1, 15))
    i, p = np.nonzero(batch.part_visible.numpy())
    x, y = batch.parts.numpy().astype(int)[i, p].T
    np.testing.assert_array_equal(
        batch.part_masks.numpy()[i, y, x], p
    )  # its pixel is its own
    assert len(i)
    first = batch[2:5]
    assert torch.equal(first.part_masks, batch.part_masks[2:5])
    (tmp_path / "p.yaml").write_text("data: {toybirds: {size: 20}}")
    assert (
        download.main("toybirds", toy.prepare, toy.DEFAULTS, toy.__doc__, options) == 2
    )
