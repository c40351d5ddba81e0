"""Excitation Backprop against zennit's, at equal maps.

Example:
    python speed/excitation.py              # 64 images, VGG-11, marginal winning probabilities at the first layer

zennit's composite ``ExcitationBackprop`` runs the network with hooks and rewrites its backward pass; ours steps from
the class down to the first layer. Both start from pixels, take the class that the network predicts, and must give the
same map (its sum over channels) to 1e-4 of its largest value, or nothing is timed. Weights are random. The contrastive
map, our default, is timed against two of zennit's passes, from which one would build it (zennit has none).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor

from benchmark.api import Target
from benchmark.shared.excitation_backprop import class_maps
from benchmark.zoo import nets
from speed import frame
from speed.frame import Row


def rows(small: bool = False) -> Iterator[Row]:
    try:
        from zennit.composites import ExcitationBackprop
    except ImportError:
        sys.exit("zennit is not installed: pip install 'glassbench[oracles]'")
    net = nets.fold_norm(
        nets.build("vgg11", (1, 32, 32), 10, {"width": 0.25 if small else 1.0}, seed=0)
    )
    target = Target(net, name="vgg11", classes="0123456789", input_shape=(1, 32, 32))
    x = torch.rand(
        4 if small else 64, 1, 32, 32, generator=torch.Generator().manual_seed(0)
    )

    def ours(contrastive: bool = False) -> Tensor:
        return class_maps(
            target, x, target(x).argmax(1), to="conv0", contrastive=contrastive
        )

    def theirs() -> Tensor:
        with torch.no_grad():
            a = target.net[:1](x)
        a.requires_grad_()
        composite = ExcitationBackprop(stabilizer=1e-12, zero_params=["bias"])
        with composite.context(target.net) as network:
            y = network[1:](a)
            winner = torch.nn.functional.one_hot(y.argmax(1), y.shape[1])
            (P,) = torch.autograd.grad(y, a, winner.to(y))
        return P.sum(1)

    size = f"{len(x)} images, VGG-11, at conv0"
    mine, their = ours(), theirs()[:, None]
    their = torch.nn.functional.interpolate(their, mine.shape[-2:], mode="bicubic")
    their = their[:, 0].clamp(min=0)
    apart = float((mine - their).abs().max() / their.abs().max())
    if apart > 1e-4:
        sys.exit(f"the maps differ by {apart:.2g}; nothing was timed")
    n = 3 if small else 9
    bound = (
        "one forward pass and, for each layer, its positive part forwards and backwards"
    )
    yield frame.against(
        "Excitation Backprop (plain)",
        "zennit",
        size,
        ours,
        theirs,
        goal=1,
        bound=bound,
        n=n,
    )
    yield frame.against(
        "Excitation Backprop (contrastive)",
        "zennit, twice",
        size,
        lambda: ours(True),
        lambda: (theirs(), theirs()),
        goal=1,
        bound=bound,
        n=n,
    )


if __name__ == "__main__":
    frame.alone(__doc__, rows)
