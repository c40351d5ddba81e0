"""Attention Rollout against a literal twin, on networks that write attention in different ways."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from baselines.attention_rollout import AttentionRollout
from benchmark.api import Batch, NotApplicable, Target
from benchmark.shared.attention_weights import Attention, weights_of
from tests.helpers.own_networks import CLASSES, GOOD, SHAPE, seeded

HEADS, D = 2, 8


def fused(q, k, v):
    return F.scaled_dot_product_attention(q, k, v)


def by_hand(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    return F.dropout(scores.softmax(dim=-1), 0.5, training=False) @ v


def by_einsum(q, k, v):
    scores = torch.einsum("bhid,bhjd->bhij", q, k) * q.shape[-1] ** -0.5
    return torch.einsum("bhij,bhjd->bhid", scores.softmax(-1).to(v.dtype), v)


def by_bmm(q, k, v):
    q, k, v = (z.flatten(0, 1) for z in (q, k, v))
    weights = nn.Softmax(-1)(torch.bmm(q, k.mT) / math.sqrt(q.shape[-1]))
    return torch.bmm(weights, v).unflatten(0, (-1, HEADS))


class Block(nn.Module):
    """Attention and a dense layer, with ways around them."""

    def __init__(self, attend):
        super().__init__()
        self.attend = attend
        self.norm, self.mlp = nn.LayerNorm(D), nn.Linear(D, D)
        self.own = nn.MultiheadAttention(D, HEADS, batch_first=True)
        nn.init.normal_(self.own.in_proj_bias)

    def forward(self, z):
        a = self.norm(z)
        if self.attend is None:
            out, _ = self.own(a, a, a, need_weights=False)
        else:
            qkv = F.linear(a, self.own.in_proj_weight, self.own.in_proj_bias)
            q, k, v = qkv.unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
            out = self.own.out_proj(self.attend(q, k, v).transpose(1, 2).flatten(2))
        z = z + out
        return z + torch.relu(self.mlp(z))


class Transformer(nn.Module):
    """Patches of 4x4 pixels, with a class token or without."""

    def __init__(self, attend, token=True):
        super().__init__()
        self.embed = nn.Conv2d(3, D, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, D)) if token else None
        self.place = nn.Parameter(torch.randn(1, 16 + token, D))
        self.blocks = nn.Sequential(*(Block(attend) for _ in range(3)))
        self.head = nn.Linear(D, 3)

    def forward(self, x):
        z = self.embed(x).flatten(2).mT
        if self.token is not None:
            z = torch.cat([self.token.expand(len(z), -1, -1), z], 1)
        z = self.blocks(z + self.place)
        return self.head(z.mean(1) if self.token is None else z[:, 0])


def targeted(attend, token=True):
    torch.manual_seed(0)
    net = Transformer(attend, token).eval()
    return Target(net, name="vit", classes="abc", input_shape=(3, 16, 16))


def images(shape=(3, 16, 16)):
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(1))
    return Batch(x=x, y=torch.zeros(3, dtype=torch.long), chunk=2)


def literal(net, x, token):
    """The paper's rollout of one image, number by number in float64: (16,)."""
    z = net.embed(x[None]).flatten(2).mT
    if token:
        z = torch.cat([net.token, z], 1)
    z, rollout = z + net.place, None
    for block in net.blocks:
        a = block.norm(z)[0]
        w, b = block.own.in_proj_weight, block.own.in_proj_bias
        t, size = len(a), D // HEADS
        mixed = np.zeros((t, t))
        for h in range(HEADS):
            rows = slice(h * size, (h + 1) * size)
            q = a @ w[:D][rows].T + b[:D][rows]
            k = a @ w[D : 2 * D][rows].T + b[D : 2 * D][rows]
            for i in range(t):
                e = [math.exp(float(q[i] @ k[j]) / math.sqrt(size)) for j in range(t)]
                mixed[i] += [each / sum(e) / HEADS for each in e]
        A = 0.5 * mixed + 0.5 * np.eye(t)
        rollout = A if rollout is None else A @ rollout
        z = block(z)
    return rollout[0, 1:] if token else rollout.mean(0)


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize("attend", [fused, by_hand, by_einsum, by_bmm, None])
@torch.no_grad()
def test_the_map_is_that_of_the_paper(attend, token):
    target, batch = targeted(attend, token), images()
    maps = AttentionRollout().explain(target, batch, None).heatmaps
    double = target.net.double()
    rows = [literal(double, x.double(), token) for x in batch.x]
    patches = torch.tensor(np.array(rows)).view(-1, 1, 4, 4)
    expected = F.interpolate(patches, (16, 16), mode="bilinear")[:, 0]
    np.testing.assert_allclose(maps, expected, atol=1e-6)


def test_torch_transformer_layers_are_read_in_eval_mode():
    """Their fused kernel gives no weights."""
    layer = nn.TransformerEncoderLayer(D, HEADS, 16, batch_first=True).eval()
    z = torch.rand(2, 5, D)
    with torch.no_grad(), Attention() as attention:
        out = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)(z)
    assert [w.shape for w in attention.weights] == 3 * [(2, HEADS, 5, 5)]
    torch.testing.assert_close(attention.weights[1].sum(-1), torch.ones(2, HEADS, 5))
    assert out.shape == z.shape


def test_weights_agree_with_the_function_that_hides_them():
    q, k, v = torch.rand(3, 2, 4, 6, 5).unbind()
    mask = torch.rand(6, 6) > 0.3
    mask.fill_diagonal_(True)
    for given in (
        {},
        {"attn_mask": mask},
        {"attn_mask": mask * 1.5},
        {"is_causal": True},
    ):
        expected = F.scaled_dot_product_attention(q, k, v, **given, scale=0.7)
        got = weights_of(q, k, v, **given, scale=0.7) @ v
        torch.testing.assert_close(got, expected)


def test_a_softmax_that_weighs_no_tokens_is_no_attention():
    with Attention() as attention:
        torch.rand(2, 3, 3).softmax(-1) * torch.rand(2, 3, 3)
    assert attention.weights == []


def in_windows(q, k, v):
    """Of 2x2 halves of the patches, each by itself: as many rows as there are patches in one."""
    halves = [z.unflatten(2, (2, -1)).movedim(2, 1).flatten(0, 1) for z in (q, k, v)]
    return fused(*halves).unflatten(0, (-1, 2)).movedim(1, 2).flatten(2, 3)


def test_attention_in_windows_is_refused():
    with pytest.raises(NotApplicable, match="all patches to all"):
        AttentionRollout().explain(targeted(in_windows, False), images(), None)


@pytest.mark.parametrize("name", ["resnet", "swin", "vit", "patches"])
def test_it_says_where_it_does_not_apply(name):
    given = {"name": "mine", "classes": CLASSES, "input_shape": SHAPE}
    target = Target(seeded(GOOD[name][0]), **given)
    if name in ("vit", "patches"):
        maps = AttentionRollout("max").explain(target, images(SHAPE), None).heatmaps
        assert maps.shape == (3, 32, 32) and (maps > 0).all()
        return
    with pytest.raises(NotApplicable, match="attention"):
        AttentionRollout().explain(target, images(SHAPE), None)
