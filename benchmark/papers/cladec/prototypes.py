"""A classifier with prototypes that can be drawn: what Fig. 15 compares ClaDec with.

Idea: an auto-encoder and a classifier share the code z = f(x). The classifier sees nothing but the squared distances of z to m
learnt prototypes p_j; since p_j lies in the code's space, the decoder g draws it.

    E + 1/20 mean |g(f(x)) - x|^2 + 1/20 R1 + 1/20 R2                      Eq. 7 there; E is the cross entropy
    R1 = mean_j min_i |p_j - f(x_i)|^2                                     each prototype near some training image   Eq. 3
    R2 = mean_i min_j |f(x_i) - p_j|^2                                     each image near some prototype            Eq. 4

Four 3x3 convolutions of stride 2 with 32-32-32-10 channels and their mirror, sigmoids throughout, as in their MNIST network;
no elastic deformations. 1/20 is their weighting 20 : 1 : 1 : 1.

Reference: O. Li, H. Liu, C. Chen, C. Rudin. Deep learning for case-based reasoning through prototypes. AAAI 2018.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from benchmark.papers.cladec.decoder import Crop, sides
from benchmark.papers.cladec.training import Networks, Training, descend, run
from benchmark.zoo.nets import seeded

TRAINING = Training(epochs=1500, batch=250, lr=0.002, weight_decay=0.0)
WEIGHT = 1 / 20  # of reconstruction, R1 and R2


class PrototypeNet(nn.Module):
    """(n, c, h, w) in [0, 1] -> logits (n, C), distances (n, m), rebuilt images (n, c, h, w)."""

    def __init__(self, image: tuple[int, int, int], classes: int, m: int) -> None:
        super().__init__()
        c, *_ = image
        maps = [c, 32, 32, 32, 10]
        steps = list(
            zip(*(sides(s)[-5:] for s in image[1:]), strict=True)
        )  # (h, w), from the code's to the image's
        self.f = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, 2, padding=1), nn.Sigmoid())
                for a, b in pairwise(maps)
            )
        )
        self.g = nn.Sequential(
            *(
                nn.Sequential(
                    nn.ConvTranspose2d(a, b, 3, 2, padding=1, output_padding=1),
                    Crop(size),
                    nn.Sigmoid(),
                )
                for (a, b), size in zip(pairwise(maps[::-1]), steps[1:], strict=True)
            )
        )
        self.code = (10, *steps[0])
        self.p = nn.Parameter(torch.rand(m, 10 * steps[0][0] * steps[0][1]))
        self.w = nn.Linear(m, classes, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = self.f(x)
        distances = torch.cdist(
            z.flatten(1), self.p, compute_mode="donot_use_mm_for_euclid_dist"
        ).square()
        return self.w(distances), distances, self.g(z)


def fit(x: Tensor, y: Tensor, classes: int, m: int, how: Training, rng: Generator) -> PrototypeNet:
    """Train on pixels x (n, c, h, w) in [0, 1] of classes y (n,)."""
    with seeded(int(rng.integers(2**63 - 1))):
        net = PrototypeNet(tuple(x.shape[1:]), classes, m).to(x.device)

    def loss(model: Networks, rows: Tensor) -> Tensor:
        logits, distances, rebuilt = model.first(x[rows])
        rebuilding = (rebuilt - x[rows]).square().sum((1, 2, 3)).mean()
        r1, r2 = (
            distances.amin(0).mean(),
            distances.amin(1).mean(),
        )  #                                  Eqs. 3, 4
        return (F.cross_entropy(logits, y[rows]) + WEIGHT * (rebuilding + r1 + r2))[
            None
        ]  #                Eq. 7

    descend([net], loss, len(x), how, rng, x.device)
    return net


@torch.no_grad()
def drawn(net: PrototypeNet, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The prototypes as images (m, c, h, w); for each the nearest of x (m,); and its weights on the classes (m, C)."""
    nearest = run(lambda part: net(part)[1], x).argmin(0)
    return net.g(net.p.view(-1, *net.code)), nearest, net.w.weight.T
