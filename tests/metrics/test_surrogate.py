"""ACU-GT, ACU-MD and CVR: a hand-computed case, and what must hold for any labels."""

import numpy as np
import pytest
import torch
from torch import nn

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark.api import METRICS, Batch, Explanation, Target

ACU_GT, ACU_MD, CVR = (METRICS[name] for name in ("acu_gt", "acu_md", "cvr"))


def target():
    """F: the brighter of the two pixels; 0 is the left one."""
    return Target(
        nn.Sequential(nn.Flatten()),
        name="brighter",
        classes="ab",
        input_shape=(1, 1, 2),
    )


def images(truth, predicted):
    x = torch.tensor([[[[1.0, 0.0]]] if c == 0 else [[[0.0, 1.0]]] for c in predicted])
    return Batch(x=x, y=torch.tensor(truth), chunk=2)


def value(metric, labels, batch):
    return metric(
        Explanation(labels=np.array(labels)), target(), batch, np.random.default_rng(0)
    )


def test_by_hand():
    batch = images(truth=[0, 0, 1, 1], predicted=[0, 1, 1, 0])
    labels = [0, 1, -1, 1]
    np.testing.assert_array_equal(value(ACU_GT, labels, batch), [100, 0, np.nan, 100])
    np.testing.assert_array_equal(value(ACU_MD, labels, batch), [100, 100, np.nan, 0])
    np.testing.assert_array_equal(value(CVR, labels, batch), [100, 100, 0, 100])


def test_the_network_itself_agrees_with_itself_and_covers_all():
    truth, predicted = np.random.default_rng(0).integers(0, 2, (2, 50))
    batch = images(truth.tolist(), predicted.tolist())
    assert (value(ACU_MD, predicted, batch) == 100).all() and (
        value(CVR, predicted, batch) == 100
    ).all()
    np.testing.assert_allclose(
        value(ACU_GT, predicted, batch).mean(), 100 * (truth == predicted).mean()
    )


def test_nothing_covered_has_no_accuracy():
    batch = images([0, 1], [0, 1])
    assert (
        np.isnan(value(ACU_GT, [-1, -1], batch)).all()
        and np.isnan(value(ACU_MD, [-1, -1], batch)).all()
    )
    assert (value(CVR, [-1, -1], batch) == 0).all()


def test_the_accuracies_are_partial_and_the_coverage_is_not():
    assert ACU_GT.partial and ACU_MD.partial and not CVR.partial
    assert {m.track for m in (ACU_GT, ACU_MD, CVR)} == {"surrogate"}
    assert {m.better for m in (ACU_GT, ACU_MD, CVR)} == {"higher"}


@pytest.mark.parametrize("metric", [ACU_GT, ACU_MD, CVR], ids=lambda m: m.name)
def test_labels_that_do_not_fit_are_refused(metric):
    with pytest.raises(ValueError, match="3 labels for 2 images: return one per image"):
        value(metric, [0, 0, 0], images([0, 1], [0, 1]))
    with pytest.raises(ValueError, match="0 labels for 2 images"):
        metric(
            Explanation(heatmaps=np.zeros((2, 1, 2))),
            target(),
            images([0, 1], [0, 1]),
            np.random.default_rng(0),
        )
