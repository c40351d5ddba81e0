"""True parts: the birds that are drawn again, each check by hand and by a slow twin, and an oracle."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from benchmark.api import METRICS, Batch, Explanation, NotApplicable, Target
from benchmark.metrics import parts
from benchmark.metrics.masking import shared
from benchmark.metrics.parts import GRASS, LEAF, MARKS, SETS, Answers
from benchmark.shared import toybirds
from benchmark.utils.seeds import generator
from tests.helpers.calling import explainer

SIZE, CLASSES = 40, len(toybirds.RULES)
CHECKED = (
    "preservation",
    "deletion",
    "controlled_synthetic_data_check",
    "distractibility",
)


def test_birds(n=40, rows=(3, 9, 17, 30)):
    """Some of a test set of n birds."""
    scene = toybirds.draw_scene(generator("toybirds", "test"), n)
    x, _ = toybirds.render({k: v[list(rows)] for k, v in scene.items()}, SIZE)
    return Batch(
        x=torch.from_numpy(x).float() / 255,
        y=torch.from_numpy(scene["y"][list(rows)].astype(np.int64)),
        ids=torch.tensor(rows),
        chunk=3,
    )


test_birds.__test__ = False


@pytest.fixture(scope="module")
def batch():
    return test_birds()


@pytest.fixture(scope="module")
def birds(batch):
    return parts.birds_of(batch)


def linear(seed=0):
    """Random weights on pixels; the logits of birds without a part are all different."""
    net = nn.Sequential()
    net.add_module("flatten", nn.Flatten())
    net.add_module("logits", nn.Linear(3 * SIZE**2, CLASSES))
    drawn = torch.Generator().manual_seed(seed)
    for p in net.parameters():
        p.data = 0.1 * torch.randn(p.shape, generator=drawn)
    names = [str(c) for c in range(CLASSES)]
    return Target(net, name="linear", classes=names, input_shape=(3, SIZE, SIZE))


# --------------------------------------------------------------------------------------------- birds


def test_the_birds_of_a_batch_are_those_that_the_data_set_has(batch, birds):
    assert np.array_equal(birds.x, (batch.x * 255).round().byte().numpy())
    assert np.array_equal(birds.scene["y"], batch.y.numpy())
    assert len(birds) == 4


def test_other_images_are_refused(batch, monkeypatch):
    monkeypatch.setattr(parts, "MOST", 60)
    x = batch.x.clone()
    x[0, 0, 0, 0] += 1 / 255 if x[0, 0, 0, 0] < 0.5 else -1 / 255
    for other in (x, torch.rand(4, 3, SIZE, SIZE), torch.rand(4, 1, SIZE, SIZE)):
        changed = Batch(x=other, y=batch.y, ids=batch.ids)
        with pytest.raises(NotApplicable, match="no test images of toybirds"):
            parts.birds_of(changed)


def test_a_missing_part_is_nowhere_and_the_rest_stays(birds):
    rows = np.arange(len(birds))
    for i, names in enumerate(toybirds.CARRIERS.values()):
        x = birds.drawings(rows, np.full(4, SETS - 1 - 2**i))
        changed = (x != birds.x).any(1)
        carriers = [toybirds.PARTS.index(name) for name in names]
        scene = parts._without(birds.scene, SETS - 1 - 2**i)
        _, owner = toybirds.render(scene, SIZE)
        assert not np.isin(owner, carriers).any()
        assert changed.any((1, 2)).all()
        # the outline around a part is not part of it
        assert (changed & ~birds.areas[:, i]).sum() < 0.1 * changed.sum()


def test_the_full_set_is_the_image_itself_and_the_empty_one_a_bare_bird(birds):
    rows = np.arange(len(birds))
    assert np.array_equal(birds.drawings(rows, np.full(4, SETS - 1)), birds.x)
    _, owner = toybirds.render(parts._without(birds.scene, 0), SIZE)
    marked = [p for names in toybirds.CARRIERS.values() for p in names]
    assert not np.isin(owner, [toybirds.PARTS.index(p) for p in marked]).any()
    assert (owner == toybirds.PARTS.index("back")).any((1, 2)).all()


def test_grass_and_leaf_can_be_taken_away_and_have_areas_where_they_are_seen():
    own = parts.own_birds(24, SIZE)
    for k, (kind, key) in enumerate(((GRASS, "grass"), (LEAF, "leaf"))):
        there = own.scene[key].reshape(24, -1)[:, 0] < 1.2  # 2 and 3 stand for none
        seen = own.areas[:, MARKS + k].any((1, 2))
        assert there.any()
        assert not there.all()
        assert (seen <= there).all()
        x = own.drawings(np.arange(24), np.full(24, kind))
        assert np.array_equal((x != own.x).any((1, 2, 3)), seen)


def test_sufficient_sets_by_hand():
    """Class 0 asks for crown, wing and breast; class 7 for these with another wing; class 2 differs in the crown, class
    4 in the breast alone: all three are needed."""
    assert toybirds.sufficient_sets(0) == [{0, 2, 4}]
    for c in range(CLASSES):
        (only,) = toybirds.sufficient_sets(c)
        assert only == set(np.flatnonzero(toybirds.RULES[c] != toybirds.ANY))
    assert toybirds.shared_marks(0, 7).tolist() == [True, False, False, False, True]


# --------------------------------------------------------------------------------------------- checks, by hand


@pytest.fixture
def counting(birds):
    """A network that counts the marks of its class: logit of the bird's class 4 x those of its three parts that are
    there, of another class 3; grass and leaf do nothing."""
    z = {}
    for row, c in enumerate(birds.scene["y"]):
        (needed,) = toybirds.sufficient_sets(c)
        for kind in range(SETS + 2):
            there = kind if kind < SETS else SETS - 1
            count = sum(there >> i & 1 for i in needed)
            logits = np.zeros(CLASSES)
            logits[[c, (c + 1) % CLASSES]] = 4 * count, 3
            z[row, kind] = logits
    return Answers(None, birds, z)


def chosen_by(answers, choose):
    """(n, 7): the parts that ``choose`` names, given those that define the class."""
    found = np.zeros((len(answers.birds), MARKS + 2), bool)
    for row, c in enumerate(answers.birds.scene["y"]):
        (needed,) = toybirds.sufficient_sets(c)
        found[row, sorted(choose(needed))] = True
    return found


@pytest.mark.parametrize(
    ("choose", "sufficient", "kept", "changed", "undistracted"),
    [
        (lambda s: s, 1, 1, 1, 1),
        (lambda s: [], 0, 0, 0, 1),
        (lambda s: range(MARKS + 2), 1, 1, 1, 0),
        (lambda s: sorted(s)[:1], 1 / 3, 1, 0, 1),  # 4 > 3; 8 > 3
        (lambda s: set(range(MARKS)) - s, 0, 0, 0, None),
    ],
    ids=["the parts that count", "none", "all", "one of three", "those that do not"],
)
def test_checks_by_hand(counting, choose, sufficient, kept, changed, undistracted):
    chosen = chosen_by(counting, choose)
    assert parts.found_sufficient(chosen, counting) == pytest.approx(sufficient)
    assert parts.kept_answer(chosen, counting).tolist() == [kept] * 4
    assert parts.changed_answer(chosen, counting).tolist() == [changed] * 4
    if undistracted is None:  # two parts of those, grass and leaf that are seen
        others = 2 + counting.birds.areas[:, MARKS:].any((2, 3)).sum(1)
        undistracted = 1 - 2 / others
    assert parts.not_distracted(chosen, counting) == pytest.approx(undistracted)


def test_birds_that_the_network_takes_for_others_have_no_sufficient_set(counting):
    for key, logits in counting.z.items():
        counting.z[key] = np.roll(logits, 1)
    chosen = chosen_by(counting, lambda s: s)
    assert np.isnan(parts.found_sufficient(chosen, counting)).all()


def effect_maps(answers):
    """The oracle: how much the logit falls without a part, spread over its pixels."""
    falls = answers.falls(answers.whole.argmax(1)).clip(0)
    areas = answers.birds.areas
    size = areas.sum((2, 3)).clip(1)
    return np.einsum("np,nphw->nhw", falls / size, areas)


def test_the_oracle_finds_everything_and_its_threshold_lets_it(counting):
    maps = effect_maps(counting)
    t = parts.best_threshold(maps, counting)
    chosen = parts.important(maps, counting.birds, t)
    assert parts.found_sufficient(chosen, counting).mean() > 0.9
    assert parts.kept_answer(chosen, counting).all()
    assert parts.changed_answer(chosen, counting).mean() > 0.7
    assert parts.not_distracted(chosen, counting).mean() > 0.8


def test_the_threshold_leaves_out_birds_without_a_map(counting):
    maps = effect_maps(counting)
    t = parts.best_threshold(maps[:2], _first_two(counting))
    maps[2:] = np.nan
    assert parts.best_threshold(maps, counting) == t


def _first_two(answers):
    birds = answers.birds
    scene = {key: value[:2] for key, value in birds.scene.items()}
    two = parts.Birds(scene, birds.x[:2], birds.areas[:2], {})
    return Answers(None, two, answers.z)


# --------------------------------------------------------------------------------------------- slow twins


def importance_twin(heat, shown):
    """PI: every pixel within two rows and columns of one that shows the part."""
    total = 0.0
    for i, j in np.ndindex(*heat.shape):
        if shown[max(i - 2, 0) : i + 3, max(j - 2, 0) : j + 3].any():
            total += float(heat[i, j])
    return total


def owner_of(birds):
    _, owner = toybirds.render(birds.scene, SIZE)
    return owner


def test_part_importance_against_the_slow_twin(birds):
    maps = np.random.default_rng(0).normal(size=(4, SIZE, SIZE)).astype(np.float32)
    found = parts.part_importance(maps, birds)
    owner = owner_of(birds)
    for row in range(4):
        for i, names in enumerate(toybirds.CARRIERS.values()):
            carriers = [toybirds.PARTS.index(name) for name in names]
            shown = np.isin(owner[row], carriers)
            expected = importance_twin(maps[row], shown)
            assert found[row, i] == pytest.approx(expected, abs=1e-4)


def logit_without(target, birds, row, i, c):
    """F^c of one bird that is drawn without part i."""
    scene = {key: value[row : row + 1] for key, value in birds.scene.items()}
    gone = np.zeros((1, len(toybirds.PARTS)), bool)
    for name in list(toybirds.CARRIERS.values())[i]:
        gone[0, toybirds.PARTS.index(name)] = True
    x, _ = toybirds.render({**scene, "without": gone}, SIZE)
    return float(target(torch.from_numpy(x).float() / 255)[0, c])


def test_single_deletion_against_scipy(batch, birds):
    target = linear()
    maps = np.random.default_rng(0).normal(size=(4, SIZE, SIZE)).astype(np.float32)
    e = Explanation(heatmaps=maps)
    found = parts.single_deletion(e, target, batch, None)
    importance = parts.part_importance(maps, birds)
    for row, c in enumerate(target(batch).argmax(1)):
        whole = float(target(batch)[row, c])
        falls = [whole - logit_without(target, birds, row, i, c) for i in range(MARKS)]
        rho, _ = spearmanr(importance[row, :MARKS], falls)
        assert found[row] == pytest.approx((rho + 1) / 2)


def test_single_deletion_of_what_is_known_beforehand(batch):
    target = linear()
    answers = parts.answers_of(target, batch)
    falls = answers.falls(answers.whole.argmax(1))
    # a pixel of each part that lies in no other one's area
    maps = np.zeros((4, SIZE, SIZE))
    alone = answers.birds.areas & (answers.birds.areas.sum(1, keepdims=True) == 1)
    for row, i in np.ndindex(4, MARKS):
        if alone[row, i].any():
            place = np.argwhere(alone[row, i])[0]
            maps[row, *place] = falls[row, i]
    complete = alone[:, :MARKS].any((2, 3)).all(1)
    assert complete.any()
    for sign, expected in ((1, 1), (-1, 0)):
        e = Explanation(heatmaps=sign * maps)
        found = parts.single_deletion(e, target, batch, None)
        assert found[complete] == pytest.approx(expected)
    flat = Explanation(heatmaps=np.zeros((4, SIZE, SIZE)))
    assert (parts.single_deletion(flat, target, batch, None) == 0.5).all()


def grey(target, batch, rng):
    return batch.x.mean(1)


@pytest.mark.parametrize("name", CHECKED)
def test_checks_against_the_slow_twin(batch, birds, name):
    """With the threshold that was found, bird by bird and drawing by drawing."""
    target, explain = linear(), explainer(grey, linear())
    e = explain(batch)
    found = METRICS[name](e, target, batch, None, explain=explain)
    t = shared(e, batch)["threshold"]
    assert 0.01 <= t <= 0.5
    importance = parts.part_importance(e.heatmaps, birds)
    for row, c in enumerate(target(batch).argmax(1).tolist()):
        total = float(e.heatmaps[row].astype(np.float64).sum())
        says = {i for i in range(MARKS + 2) if importance[row, i] > t * total}
        expected = twin(name, target, birds, row, c, says)
        assert found[row] == pytest.approx(expected, nan_ok=True)


def twin(name, target, birds, row, c, says):
    """The check of one bird, of class c to the network, whose parts ``says`` are important."""
    scene = {key: value[row : row + 1] for key, value in birds.scene.items()}

    def logits(kept=range(MARKS), **other):
        gone = np.zeros((1, len(toybirds.PARTS)), bool)
        for i, names in enumerate(toybirds.CARRIERS.values()):
            if i not in kept:
                gone[0, [toybirds.PARTS.index(each) for each in names]] = True
        x, _ = toybirds.render({**scene, **other, "without": gone}, SIZE)
        return target(torch.from_numpy(x).float() / 255)[0].numpy().astype(float)

    if name == "preservation":
        return float(logits(says).argmax() == c)
    if name == "deletion":
        return float(logits(set(range(MARKS)) - says).argmax() != c)
    if name == "controlled_synthetic_data_check":
        y = int(scene["y"][0])
        (needed,) = toybirds.sufficient_sets(y)
        return len(needed & says) / len(needed) if c == y else np.nan
    whole = logits()[c]
    without = [logits(set(range(MARKS)) - {i})[c] for i in range(MARKS)]
    without.append(logits(grass=np.array([2.0]))[c])
    without.append(logits(leaf=np.full((1, 2), 3.0))[c])
    irrelevant = set()
    for i, z in enumerate(without):
        if birds.areas[row, i].any() and (
            abs(whole - z) < 0.05 * abs(whole) or z > whole
        ):
            irrelevant.add(i)
    if not irrelevant:
        return np.nan
    return 1 - len(irrelevant & says) / len(irrelevant)


# --------------------------------------------------------------------------------------------- laws


@pytest.mark.parametrize("name", [*CHECKED, "single_deletion"])
def test_a_positive_factor_changes_nothing(batch, name):
    def value(factor):
        def scaled(target, images, rng):
            return factor * images.x.mean(1)

        target, images = linear(), batch[:]
        explain = explainer(scaled, target)
        again = {"explain": explain} if name in CHECKED else {}
        return METRICS[name](explain(images), target, images, None, **again)

    np.testing.assert_array_equal(value(1), value(4))


def test_the_method_is_asked_once_about_the_birds_for_the_threshold(batch):
    target, images = linear(), batch[:]
    explain = explainer(grey, target)
    e = explain(images)
    for name in CHECKED:
        METRICS[name](e, target, images, None, explain=explain)
    assert len(explain.asked) == 2
    assert len(explain.asked[1][0]) == 16  # four for each bird that is scored


# --------------------------------------------------------------------------------------------- target sensitivity


def marks_of_class(birds):
    """Maps of the marks that the predicted class asks for and the bird has."""

    def method(target, batch, rng):
        rows = [ids.index(i) for i in batch.ids.tolist()]
        c = target(batch.x).argmax(1).numpy()
        has = toybirds.RULES[c] == birds.scene["values"][rows]
        return np.einsum("np,nphw->nhw", has, birds.areas[rows, :MARKS])

    ids = [3, 9, 17, 30]
    return method


def test_two_classes_share_other_marks_with_the_bird():
    assert parts._two_classes(0) is None  # those of class 6 are among those of class 7
    for c in range(1, CLASSES):
        a, b, A, B = parts._two_classes(c)
        assert A.any()
        assert B.any()
        assert not (A & B).any()
        assert (toybirds.RULES[a][A] == toybirds.RULES[c][A]).all()
        assert (toybirds.RULES[b][B] == toybirds.RULES[c][B]).all()


def test_target_sensitivity(batch, birds, monkeypatch):
    """Every bird counts here, whatever the network minds: a map that follows the class, one that does not."""
    target, images = linear(), batch[:]
    pairs = [parts._two_classes(int(c)) for c in images.y]
    some = np.array([pair is not None for pair in pairs])
    assert some.any()
    mind = Answers(target, birds, {})
    monkeypatch.setattr(parts, "answers_of", lambda *_, **__: mind)
    for row, pair in enumerate(pairs):
        if pair is not None:
            a, b, A, B = pair
            for kind in range(SETS):
                there = np.array([kind >> i & 1 for i in range(MARKS)], bool)
                logits = np.zeros(CLASSES)
                logits[a], logits[b] = (there & A).sum(), (there & B).sum()
                mind.z[row, kind] = logits
    for row in np.flatnonzero(~some):
        mind.z.update({(row, kind): np.zeros(CLASSES) for kind in range(SETS)})

    def value(method):
        explain = explainer(method, target)
        e = explain(images)
        return METRICS["target_sensitivity"](e, target, images, None, explain=explain)

    assert np.isnan(value(grey)[~some]).all()
    assert (value(grey)[some] == 0).all()
    assert (value(marks_of_class(birds))[some] == 1).all()
