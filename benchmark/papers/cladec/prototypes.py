"""A classifier with prototypes that can be drawn: what Fig. 15 compares ClaDec with.

Idea: an autoencoder and a classifier share the code z = f(x). The classifier sees only the squared distances of z
to m learnt prototypes p_j; since p_j lies in the code's space, the decoder g draws it.

    E + 1/20 mean |g(f(x)) - x|^2 + 1/20 R1 + 1/20 R2                      Eq. 7 there; E is the cross entropy
    R1 = mean_j min_i |p_j - f(x_i)|^2                                 each prototype near some training image   Eq. 3
    R2 = mean_i min_j |f(x_i) - p_j|^2                                 each image near some prototype            Eq. 4

Four 3x3 convolutions of stride 2 with 32-32-32-10 channels and their mirror, sigmoids throughout, as in their MNIST
network; no elastic deformations. 1/20 is their weighting 20 : 1 : 1 : 1.

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
        c, H, W = image
        maps = [c, 32, 32, 32, 10]
        heights, widths = sides(H)[-5:], sides(W)[-5:]  # from the code's to the image's
        steps = list(zip(heights, widths, strict=True))

        encoder, decoder = [], []
        for a, b in pairwise(maps):
            conv = nn.Conv2d(a, b, 3, 2, padding=1)
            encoder.append(nn.Sequential(conv, nn.Sigmoid()))
        mirrored = pairwise(maps[::-1])
        for (a, b), size in zip(mirrored, steps[1:], strict=True):
            deconv = nn.ConvTranspose2d(a, b, 3, 2, padding=1, output_padding=1)
            decoder.append(nn.Sequential(deconv, Crop(size), nn.Sigmoid()))
        self.f = nn.Sequential(*encoder)
        self.g = nn.Sequential(*decoder)

        h, w = steps[0]
        self.code = (10, h, w)
        self.p = nn.Parameter(torch.rand(m, 10 * h * w))
        self.w = nn.Linear(m, classes, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = self.f(x)
        exact = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(z.flatten(1), self.p, compute_mode=exact)
        distances = distances.square()
        return self.w(distances), distances, self.g(z)


def fit(
    x: Tensor, y: Tensor, classes: int, m: int, how: Training, rng: Generator
) -> PrototypeNet:
    """Train on pixels x (n, c, h, w) in [0, 1] of classes y (n,)."""
    with seeded(int(rng.integers(2**63 - 1))):
        net = PrototypeNet(tuple(x.shape[1:]), classes, m).to(x.device)

    def loss(model: Networks, rows: Tensor) -> Tensor:
        images = x[rows]
        logits, distances, rebuilt = model.first(images)
        rebuilding = (rebuilt - images).square().sum((1, 2, 3)).mean()
        r1 = distances.amin(0).mean()  # Eq. 3
        r2 = distances.amin(1).mean()  # Eq. 4
        entropy = F.cross_entropy(logits, y[rows])
        total = entropy + WEIGHT * (rebuilding + r1 + r2)  # Eq. 7
        return total[None]

    descend([net], loss, len(x), how, rng, x.device)
    return net


@torch.no_grad()
def drawn(net: PrototypeNet, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The prototypes as images (m, c, h, w); for each the nearest of x (m,); and its weights on the classes (m, C)."""

    def distances(part: Tensor) -> Tensor:
        _, found, _ = net(part)
        return found

    nearest = run(distances, x).argmin(0)
    codes = net.p.view(-1, *net.code)
    return net.g(codes), nearest, net.w.weight.T
