"""Which class is answered instead: hand-computed cases, and against a changed copy of a network."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.api import Batch, Target
from benchmark.papers.explainn import substitutes
from benchmark.papers.explainn.mdl import Rule
from benchmark.papers.explainn.miner import Model
from benchmark.papers.explainn.networks import intervene

NAMES = ("Red Fox", "Grey_Fox", "Barn", "Boat")


def angles():
    """Two hidden units; classes lie at 0, 20, 90 and 170 degrees and a logit is the projection on its class."""
    at = torch.deg2rad(torch.tensor([0.0, 20.0, 90.0, 170.0]))
    directions = torch.stack([at.cos(), at.sin()], dim=1)
    net = nn.Sequential()
    net.add_module("hidden", nn.Sequential(nn.Flatten(), nn.Linear(2, 2)))
    net.add_module("logits", nn.Linear(2, 4))
    with torch.no_grad():
        net.hidden[1].weight.copy_(torch.eye(2))
        net.logits.weight.copy_(directions)
        net.hidden[1].bias.zero_()
        net.logits.bias.zero_()
    target = Target(net, name="angles", classes=NAMES, input_shape=(1, 1, 2))
    x = directions.repeat(3, 1).view(12, 1, 1, 2)
    return target, Batch(x=x, y=torch.arange(4).repeat(3))


@pytest.fixture
def intervened():
    target, test = angles()
    model = Model((Rule((0, 2), (4, 5)),), (1.0,), 0.0, 0.0, 4)  # all of 0's and 2's
    return target, test, intervene(target, test, model, np.random.default_rng(0), 2)


def test_the_answers_are_those_of_a_changed_copy(intervened):
    target, test, result = intervened
    for c in (0, 2):
        net = copy.deepcopy(target.net)
        with torch.no_grad():
            net.logits.weight[c] = 0
            answers = net(test.x[test.y == c]).argmax(1)
        expected = np.bincount(answers.numpy(), minlength=4)
        np.testing.assert_array_equal(result.instead[c], expected)
    assert result.instead[[1, 3]].sum() == 0  # no rule names them


def test_the_commonest_substitute():
    instead = np.array([[9, 2, 3, 0], [0, 5, 0, 0], [0] * 4, [4, 4, 0, 0]])
    assert substitutes.commonest(instead).tolist() == [2, -1, -1, 0]


def test_closeness_ranks_by_the_angle_around_the_mean():
    target, test = angles()
    rank = substitutes.closeness(target, test)
    A = target.net.logits.weight.detach().numpy()
    A = A - A.mean(0)
    A /= np.linalg.norm(A, axis=1, keepdims=True)
    for c in range(4):
        others = [d for d in range(4) if d != c]
        nearest_first = sorted(others, key=lambda d: -A[c] @ A[d])
        assert rank[c, nearest_first].tolist() == [1, 2, 3]
    assert (rank.diagonal() == 0).all()


def test_namesakes_end_in_the_same_word():
    same = np.zeros((4, 4), bool)
    same[0, 1] = same[1, 0] = True
    np.testing.assert_array_equal(substitutes.namesakes(NAMES), same)


def test_facts_by_hand(intervened):
    target, test, result = intervened
    found = substitutes.facts(target, test, result)
    # 0 and 2 lose their images to 1, the nearest class of 0; the nearest of 2 decides the other half.
    rank = substitutes.closeness(target, test)
    assert substitutes.commonest(result.instead).tolist() == [1, -1, 1, -1]
    assert found == {
        "classes_that_lose": 2,
        "instead_commonest_share": 1,
        "instead_related_share": np.mean([rank[0, 1] == 1, rank[2, 1] == 1]),
        "instead_related_by_chance": 1 / 3,
        "classes_that_lose_with_namesakes": 1,
        "instead_namesake_share": 1,
        "instead_namesake_by_chance": 1 / 3,
    }


def test_two_classes_and_classes_that_lose_nothing_have_no_facts(intervened):
    target, test, result = intervened
    nothing = type(result)(**vars(result) | {"instead": np.diag([3] * 4)})
    assert substitutes.facts(target, test, nothing) == {}
    two = Target(target.net, name="two", classes=("a", "b"), input_shape=(1, 1, 2))
    assert substitutes.facts(two, test, result) == {}
