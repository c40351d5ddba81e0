"""What an external method gets of a batch."""

import copy
import pickle

import pytest
import torch

from benchmark.api import Batch, Explanation, Target
from benchmark.methods.contract import PixelsOnly, needs_labels, pixels

WITHHELD = ("boxes", "parts", "part_visible", "part_masks", "part_importance")


class Mine:
    needs: object = ()

    def __init__(self, **fields):
        vars(self).update(fields)


def whole(n=5):
    return Batch(
        x=torch.rand(n, 1, 4, 4),
        y=torch.arange(n),
        ids=torch.arange(n) + 100,
        boxes=torch.rand(n, 4),
        parts=torch.rand(n, 2, 2),
        part_visible=torch.ones(n, 2, dtype=torch.bool),
        part_masks=torch.zeros(n, 4, 4, dtype=torch.int8),
        part_importance=torch.rand(n, 2),
        chunk=2,
    )


@pytest.mark.parametrize("name", [*WITHHELD, "y"])
def test_an_access_to_what_is_withheld_is_one_clear_line(name):
    seen = pixels(whole(), Mine())
    for batch in (seen, seen[1:3], next(iter(seen)), copy.copy(seen)):
        with pytest.raises(AttributeError, match=rf"^batch\.{name} is withheld: .+$"):
            getattr(batch, name)
        assert getattr(batch, name, None) is None
    with pytest.raises(AttributeError, match="a batch has no z"):
        _ = seen.z


def test_pixels_are_those_of_the_batch_and_nothing_else_is_in_them():
    batch = whole()
    batch.memo["seen"] = 1
    seen = pixels(batch, Mine())
    assert seen.x is batch.x and seen.ids is batch.ids and not seen.memo
    assert [len(part) for part in seen] == [2, 2, 1]
    assert torch.equal(seen[[3, 1]].x, batch.x[[3, 1]])
    assert seen.annotations() == frozenset() and repr(seen) == "5 images (1, 4, 4)"
    assert torch.equal(pickle.loads(pickle.dumps(seen)).x, batch.x)
    assert set(vars(seen)) == {"x", "ids", "chunk", "memo"}


@pytest.mark.parametrize("needs", [{"labels"}, ["labels"], "labels"])
def test_labels_are_there_if_they_are_declared(needs):
    seen = pixels(whole(), Mine(needs=needs))
    assert needs_labels(Mine(needs=needs))
    assert seen.y.tolist() == [0, 1, 2, 3, 4] and seen[[3, 1]].y.tolist() == [3, 1]
    with pytest.raises(AttributeError, match="boxes is withheld"):
        _ = seen.boxes


def test_another_need_is_refused():
    with pytest.raises(ValueError, match=r'needs boxes, parts; .* \{"labels"\} only'):
        needs_labels(Mine(needs={"labels", "boxes", "parts"}))


# --------------------------------------------------------------------------------------------- in a paper's experiment


class Painted:
    """Paints what ``of`` says of the batch."""

    name = "Painted"

    def __init__(self, of, needs=()):
        self.of = of
        self.needs = needs

    def fit(self, target, reference, rng):
        self.of(reference)
        return self

    def explain(self, target, batch, rng):
        return Explanation(heatmaps=self.of(batch))


def target():
    net = torch.nn.Sequential()
    net.add_module("flat", torch.nn.Flatten())
    net.add_module("fc", torch.nn.Linear(16, 3))
    return Target(net, name="toy", classes="abc", input_shape=(1, 4, 4))


def explained(of, **options):
    method = PixelsOnly(Painted(of, **options)).fit(target(), whole(), None)
    return method.explain(target(), whole(), None)


def test_an_experiment_gives_an_external_method_pixels_only():
    assert explained(lambda batch: batch.x[:, 0]).heatmaps.shape == (5, 4, 4)
    with pytest.raises(AttributeError, match="boxes is withheld"):
        explained(lambda batch: batch.boxes)
    with pytest.raises(AttributeError, match="y is withheld"):
        explained(lambda batch: batch.y)
    by_class = lambda batch: batch.y[:, None, None].expand(-1, 4, 4)
    assert explained(by_class, needs={"labels"}).heatmaps[3, 0, 0] == 3


@pytest.mark.parametrize(
    "of, words",
    [
        (lambda batch: batch.x[:3, 0], "explains 3 images of 5"),
        (lambda batch: batch.x[:, 0].mul_(2), "changed the images in place"),
        (lambda batch: torch.rand(len(batch), 4, 4), "global random state of torch"),
    ],
)
def test_an_experiment_holds_an_external_method_to_its_contract(of, words):
    with pytest.raises(ValueError, match=words):
        explained(of)
