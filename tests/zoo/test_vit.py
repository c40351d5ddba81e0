"""The vision transformer: its attention by hand, and its split at tokens."""

import math

import pytest
import torch

from baselines.attention_rollout import AttentionRollout
from benchmark.api import Batch, Target
from benchmark.zoo import nets, vit

SMALL = {"patch": 3, "width": 8, "heads": 2}


def test_attention_is_that_of_the_paper():
    torch.manual_seed(0)
    attention = vit.Attention(8, heads=2)
    z = torch.randn(1, 5, 8)
    q, k, v = attention.qkv(z[0]).split(8, dim=1)
    mixed = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = q[:, head] @ k[:, head].T / math.sqrt(4)
        mixed.append(scores.softmax(1) @ v[:, head])
    expected = attention.out(torch.cat(mixed, 1))
    assert torch.allclose(attention(z)[0], expected, atol=1e-6)


def test_positions_are_told_apart_by_row_and_column():
    found = vit.positions(2, 3, 8)
    assert found.shape == (6, 8)
    row, column = (1, 1e-4), (2, 2e-4)  # times both frequencies
    waves = [
        f(value)
        for each in (row, column)
        for f in (math.sin, math.cos)
        for value in each
    ]
    assert torch.allclose(found[5], torch.tensor(waves), atol=1e-6)
    assert len(found.unique(dim=0)) == 6


def test_its_tokens_are_maps_and_its_attention_is_seen():
    net = nets.build("vit", (3, 12, 12), 4, SMALL, seed=0)
    target = Target(
        net, name="vit", classes="abcd", input_shape=(3, 12, 12), layer="blocks.1"
    )
    x = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    z = target.features(x)
    assert z.shape == (2, 8, 4, 4)
    assert torch.equal(z.flatten(2).mT, net[:2](x))
    batch = Batch(x, torch.zeros(2, dtype=torch.int64))
    maps = AttentionRollout().explain(target, batch, None).heatmaps
    assert maps.shape == (2, 12, 12) and maps.std() > 0


@pytest.mark.parametrize(
    "options", [{"patch": 5}, {"width": 10}, {"heads": 3}, {"depth": 1}]
)
def test_what_does_not_fit_is_refused(options):
    with pytest.raises(ValueError, match="patch must divide"):
        nets.build("vit", (3, 12, 12), 3, SMALL | options)
