"""The worth of segments: a network that looks at one corner, and maps that know it or do not."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

from benchmark.api import Batch, Target
from benchmarks import segments


class Corner(nn.Module):
    """Two classes: the brightness of the upper left quarter, and nothing."""

    def forward(self, x):
        score = x[:, :, :16, :16].mean(dim=(1, 2, 3))
        return torch.stack([4 * score, torch.zeros_like(score)], dim=1)


def test_a_segment_is_worth_what_the_answer_loses_without_it(monkeypatch):
    x = np.full((3, 32, 32), 0.2, np.float32)
    x[:, :16] += 0.3
    x[:, :, :16] += 0.3  # quarters of three shades; the upper left one is the brightest
    birds = torch.full((1, 32, 32), -1, dtype=torch.int8)
    birds[0, :16, :16] = 1
    batch = Batch(x=torch.from_numpy(x)[None], y=torch.tensor([0]), part_masks=birds, parts=torch.zeros(1, 2, 2))
    target = Target(
        nn.Sequential(Corner(), nn.Identity()),
        name="corner",
        classes="ab",
        input_shape=(3, 32, 32),
        mean=[0.0],
        std=[1.0],
    )
    monkeypatch.setattr(segments.cells, "load_batch", lambda cell: batch)
    monkeypatch.setattr(segments.cells, "load_target", lambda cell: target)
    ((masks, odds, bird),) = segments.worth(None, 16)
    for mask, lost, share in zip(masks, odds, bird, strict=True):
        assert share == mask[:16, :16].sum() / mask.sum()
        assert np.isclose(lost, 4 * (0.8 - 0.5) * mask[:16, :16].sum() / 256, atol=1e-4)  # 0.5: the mean of the image
    assert {True, False} == set((odds > 0.01).tolist())


def test_spearman_is_scipys_and_a_flat_map_says_nothing():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (2, 40)).astype(float)
    assert np.isclose(segments.spearman(a, b), spearmanr(a, b).statistic)
    assert segments.spearman(np.ones(5), np.arange(5.0)) == 0
