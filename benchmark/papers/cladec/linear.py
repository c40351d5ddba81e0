"""Sec. 4: with a linear encoder and a linear decoder, RefAE is PCA, and ClaDec of a linear model is not.

    RefAE     min_{R,E} |x - R E x|^2        R E x is the projection onto the first k principal directions
    ClaDec    min_R |x - R y|^2,  y = E x    E is given: k regression models of what the image shows

Idea: RefAE keeps as much of x as k numbers can. ClaDec's y keeps what the regression needs: it loses more of x and,
with the best R, nothing of y: E R y = y.

x are pixels, flattened and centred, in units of their standard deviation, so that a mean image loses all variance.
The models are ridge regressions of the first k classes: y_c predicts [x shows class c]. RefAE is trained by gradient
descent, as in the other experiments; PCA and ClaDec's R are solved in double precision.

Reference: Schneider, Vlachos, Sec. 4; P. Baldi, K. Hornik, Neural networks and principal component analysis: learning
from examples without local minima, Neural Networks 2 (1989).
"""

from __future__ import annotations

import torch
from numpy.random import Generator
from torch import Tensor, nn

from benchmark.papers.cladec.training import Networks, Training, descend, run
from benchmark.zoo.nets import seeded

TRAINING = Training(epochs=300, lr=0.003, weight_decay=0.0)


def centred(x: Tensor) -> Tensor:
    """Images (n, c, h, w) as (n, p) double, each pixel minus its mean, in units of the pixels' standard deviation."""
    flat = x.flatten(1).double()
    flat = flat - flat.mean(0)
    return flat / flat.square().mean().sqrt()


def projected(x: Tensor, k: int) -> Tensor:
    """x (n, p) projected onto its first k principal directions, (n, p)."""
    _, directions = torch.linalg.eigh(x.T @ x)  # in rising order of the variance
    U = directions[:, -k:]  # (p, k)
    return x @ U @ U.T


def models(x: Tensor, y: Tensor, k: int, ridge: float) -> Tensor:
    """E (k, p): ridge regressions of [y = c], c < k, on x (n, p).

    Args:
        ridge: the penalty, relative to the mean variance of a pixel.
    """
    shown = nn.functional.one_hot(y)[:, :k].to(x)  # (n, k)
    penalty = ridge * len(x) * torch.eye(x.shape[1]).to(x)
    return torch.linalg.solve(x.T @ x + penalty, x.T @ shown).T


def decoded(x: Tensor, codes: Tensor) -> Tensor:
    """R y (n, p) with the R that is best for x (n, p) from the codes y (n, k)."""
    R = torch.linalg.pinv(codes.T @ codes, hermitian=True) @ (codes.T @ x)  # (k, p)
    return codes @ R


def autoencoded(x: Tensor, k: int, how: Training, rng: Generator) -> Tensor:
    """R E x (n, p), R and E trained together by gradient descent in single precision."""
    p, data = x.shape[1], x.float()
    with seeded(int(rng.integers(2**63 - 1)), x.device):
        encoder, decoder = nn.Linear(p, k, bias=False), nn.Linear(k, p, bias=False)
        net = nn.Sequential(encoder, decoder).to(x.device)

    def loss(model: Networks, rows: Tensor) -> Tensor:
        part = data[rows]
        error = model(part[None]) - part
        return error.square().mean((1, 2))

    descend([net], loss, len(x), how, rng, x.device)
    return run(net, data).double()


def lost(x: Tensor, rebuilt: Tensor) -> Tensor:
    """The squared error of each row of x (n, p) relative to the mean square of all: its mean is the variance lost."""
    error = (x - rebuilt).square().sum(1)
    return error / x.square().sum(1).mean()
