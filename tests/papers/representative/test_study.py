"""The scores of the A/B test, by hand."""

import pandas as pd
import pytest
import torch

from benchmark.papers.representative import study
from benchmark.papers.representative.boundaries import Boundaries
from benchmark.papers.representative.regions import Region


def row(person, stage, image, answer, truth="x", predicted="x", asks=None):
    return {
        "person": person,
        "form": 1,
        "stage": stage,
        "image": image,
        "answer": answer,
        "class": truth,
        "predicted": predicted,
        "asks": asks,
    }


def lines(answers):
    found = study.score(pd.DataFrame(answers), pd.DataFrame())
    return {(one.measure, one.of): one for one in found}


def test_points_are_the_papers():
    given = ["Definite x", "Maybe x", "Not sure", "Maybe y z", "Definite y z"]
    assert [study.points(answer, "x") for answer in given] == [2, 1, 0, -1, -2]
    assert [study.points(answer, "y z") for answer in given] == [-2, -1, 0, 1, 2]


def test_the_difference_is_over_images_answered_in_both():
    answers = [
        row("a", "Test A", 1, "Maybe x"),
        row("a", "Test A", 2, "Definite y", predicted="y"),
        row("a", "Test A", 3, "Definite x"),  # not answered in B
        row("a", "Test B", 1, "Definite x"),
        row("a", "Test B", 2, "Not sure", predicted="y"),
        row("a", "Test B", None, "31", truth=None, asks="actions"),
    ]
    found = lines(answers)
    assert found["score", "Test A"].value == 1 - 2 + 2
    assert found["score", "Test B"].value == 2
    assert found["difference score", "B - A"].value == (2 - 1) + (0 + 2)
    assert found["difference score", "B - A, 31 to 60 actions"].value == 3


@pytest.mark.parametrize(
    ("actions", "bin_"),
    [
        (0, "0 to 30"),
        (1, "0 to 30"),
        (30, "0 to 30"),
        (31, "31 to 60"),
        (90, "61 to 90"),
    ],
)
def test_bins_of_actions(actions, bin_):
    answers = [
        row("a", "Test A", 1, "Maybe x"),
        row("a", "Test B", 1, "Maybe x"),
        row("a", "Test B", None, str(actions), truth=None, asks="actions"),
    ]
    assert ("difference score", f"B - A, {bin_} actions") in lines(answers)


def test_following_the_network_where_it_is_right_and_where_it_is_wrong():
    answers = [
        row("a", "Test A", 1, "Maybe x"),  # follows, right
        row("a", "Test A", 2, "Maybe y"),  # does not follow, network right
        row("a", "Test A", 3, "Definite y", predicted="y"),  # follows, network wrong
        row("a", "Test A", 4, "Not sure", predicted="y"),  # undecided
    ]
    found = lines(answers)
    right = found["right, % of decided answers", "Test A"]
    assert (right.value, right.n) == (pytest.approx(100 / 3), 3)
    follows = found["follows the network, %", "Test A, where it is right"]
    assert (follows.value, follows.n) == (50, 2)
    wrong = found["follows the network, %", "Test A, where it is wrong"]
    assert (wrong.value, wrong.n) == (100, 1)


def test_similar_images_are_ranked_by_distance_and_covered_ones_come_first():
    W = torch.tensor([[[[1.0]]]])  # one boundary at psi = 0, x on its positive side
    region = Region(Boundaries(W, torch.zeros(1)), torch.tensor([True]), 0, 3)
    psi = torch.tensor([-0.5, 5.0, 1.5, 2.0]).view(4, 1, 1, 1)

    class R:
        pass

    R.psi = psi
    order = study._nearest(region, torch.tensor([[[1.0]]]), R)
    assert order.tolist() == [2, 3, 1, 0]
