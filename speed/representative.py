"""Cost of Representative Interpretations: images a second, and how it grows with |R|, |Q| and |V|.

Example:
    python speed/representative.py                          # 64 channels of 6x6, 8 classes; G with 64 hidden units
    python speed/representative.py --interpretations 1000 --references 5000
    python speed/representative.py --maps 512 --side 14 --hidden 256          # the size of VGG-19's last convolution

Nothing is trained: psi is drawn around a mean for each class, so that classes can be told apart, and G is a random ReLU
layer on top of it. Each line has the median CPU-seconds of ``--repeats`` turns on one thread: clusters (k-means),
sample (Eq. 2, with the line search for "boundary"), greedy (comparing all references with Q, Alg. 1 and pruning) and
explain (which region, Eq. 5 at 224 pixels). The greedy takes turns with its literal twin, which uses sets of Python
integers.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmark.api import Target
from benchmark.papers.representative.boundaries import sample
from benchmark.papers.representative.clusters import cluster
from benchmark.papers.representative.cover import greedy, pack, prune
from benchmark.papers.representative.regions import (
    assign,
    by_interpretation,
    coverage,
    regions,
)
from speed import frame
from speed.frame import Row


def main() -> None:
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--references", type=int, default=1000, help="|R|")
    flags.add_argument("--boundaries", type=int, default=50, help="|Q|")
    flags.add_argument("--interpretations", type=int, default=80, help="|V|")
    flags.add_argument(
        "--images", type=int, default=100, help="new images that are explained"
    )
    flags.add_argument("--maps", type=int, default=64)
    flags.add_argument("--side", type=int, default=6)
    flags.add_argument("--hidden", type=int, default=64)
    flags.add_argument("--classes", type=int, default=8)
    flags.add_argument("--pixels", type=int, default=224, help="side of a heat map")
    flags.add_argument("--repeats", type=int, default=3)
    options = flags.parse_args()
    torch.set_num_threads(1)
    target, draw = synthetic(options)
    print(
        "way        |R|    |Q|    |V|   clusters    sample    greedy   explain   images/s"
        "   boundaries of a region"
    )
    R, Q, V = options.references, options.boundaries, options.interpretations
    for way in ("reference", "boundary"):
        for sizes in ((R, Q, V), (2 * R, Q, V), (R, 2 * Q, V), (R, Q, 2 * V)):
            row(target, draw, way, *sizes, options)
    print(frame.line(twin(target, draw, R, Q)))
    processor = platform.processor() or platform.machine()
    print(f"\nCPU-seconds, one thread. {processor}, torch {torch.__version__}")


def synthetic(
    options: argparse.Namespace,
) -> tuple[Target, Callable[[int, int], Tensor]]:
    """G with a hidden layer, and a way to draw n feature maps (n, K, u, v)."""
    shape = (options.maps, options.side, options.side)
    pixels = int(np.prod(shape))
    rng = torch.Generator().manual_seed(0)
    means = torch.randn(options.classes, *shape, generator=rng)
    net = nn.Sequential()
    net.add_module("psi", nn.Identity())
    net.add_module("flatten", nn.Flatten())
    net.add_module(
        "hidden", nn.Sequential(nn.Linear(pixels, options.hidden), nn.ReLU())
    )
    net.add_module("logits", nn.Linear(options.hidden, options.classes))
    with torch.no_grad():
        net.hidden[0].weight.normal_(0, np.prod(shape) ** -0.5, generator=rng)
        hidden = net.hidden(means.relu().flatten(1))  # (C, hidden)
        net.logits.weight.copy_(torch.linalg.pinv(hidden).T * 4)
        net.logits.bias.zero_()
    target = Target(
        net,
        name="synthetic",
        classes=[str(c) for c in range(options.classes)],
        input_shape=shape,
        layer="psi",
    )

    def draw(n: int, seed: int) -> Tensor:
        rng = torch.Generator().manual_seed(seed)
        classes = torch.arange(n) % options.classes
        z = means[classes] + torch.randn(n, *shape, generator=rng)
        return z.relu()

    return target, draw


def row(
    target: Target,
    draw: Callable[[int, int], Tensor],
    way: str,
    R: int,
    Q: int,
    V: int,
    options: argparse.Namespace,
) -> None:
    """Print the cost of each step for one size."""
    psi, new = draw(R, 1), draw(options.images, 2)
    size = (options.pixels, options.pixels)
    with torch.no_grad():
        classes = torch.cat([target.head(part).argmax(1) for part in psi.split(64)])
    turns, boundaries = [], 0.0
    for turn in range(options.repeats):
        rng = np.random.default_rng(turn)
        times = [process_time()]
        clusters = cluster(psi, V, rng)
        times.append(process_time())
        x = torch.from_numpy(clusters.seeds)
        known = {"classes": classes, "classes_x": classes[x]}
        sampled = list(sample(target, psi, psi[x], way, Q, rng, **known))
        times.append(process_time())
        (found,) = regions(sampled, psi, classes, psi[x], classes[x])
        times.append(process_time())
        chosen, _ = assign(found, coverage(found, new), clusters.nearest(new))
        for v, rows in by_interpretation(chosen):
            found[v].heat_maps(new[rows], size)
        times.append(process_time())
        turns.append(np.diff(times))
        boundaries = float(np.mean([len(r) for r in found]))
    costs = np.median(turns, axis=0)
    numbers = "".join(f"{cost:10.3f}" for cost in costs)
    print(
        f"{way:10}{R:5}{Q:7}{V:7}{numbers}{options.images / costs[3]:11.0f}{boundaries:12.1f}",
        flush=True,
    )


def twin(
    target: Target,
    draw: Callable[[int, int], Tensor],
    R: int,
    Q: int,
    few: int = 5,
    n: int = 3,
) -> Row:
    """Packed bits against sets, for the same choices of ``few`` interpretations."""
    psi = draw(R, 1)
    with torch.no_grad():
        classes = target.head(psi).argmax(1)
    rng = np.random.default_rng(0)
    known = {"classes": classes, "classes_x": classes[:few]}
    sampled = sample(target, psi, psi[:few], "boundary", Q, rng, **known)
    problems = []
    for x, Qx in enumerate(sampled):
        inside = Qx.sides(psi) == Qx.sides(psi[x : x + 1])
        same = classes == classes[x]
        problems.append((inside.numpy(), same.numpy()))

    def ours() -> list[list[int]]:
        found = []
        for inside, same in problems:
            bits = pack(inside)
            same = same[:, None]
            chosen = greedy(bits, pack(same)[0], pack(~same)[0])
            prune(chosen, bits)
            found.append(chosen)
        return found

    def theirs() -> list[list[int]]:
        return [literal(*problem) for problem in problems]

    if ours() != theirs():
        sys.exit("the greedy and its literal twin disagree; nothing was timed")
    return frame.against(
        "RI's Alg. 1 on packed bits",
        "sets of integers",
        f"|R| = {R:,}, |Q| = {Q}",
        ours,
        theirs,
        goal=None,
        bound="the greedy's steps, one after the other",
        n=n,
    )


def rows(small: bool = False) -> Iterator[Row]:
    R, Q, n = (1000, 50, 5)
    if small:
        R, Q, n = (100, 10, 1)
    options = argparse.Namespace(maps=16, side=4, hidden=64, classes=8)
    target, draw = synthetic(options)
    yield twin(target, draw, R, Q, n=n)


def literal(inside: np.ndarray, same: np.ndarray) -> list[int]:
    """Alg. 1 literally: inside (n, q), which references a boundary keeps; same (n,), which are of x's class."""
    n, q = inside.shape
    cut = [{i for i in range(n) if not inside[i, h]} for h in range(q)]
    other = {i for i in range(n) if not same[i]}
    tau = len(other - set().union(*cut))
    covered, P = set(range(n)), []
    while len(covered & other) > tau:
        ratios = []
        for h in range(q):
            lost = cut[h] & covered
            lost_other = len(lost & other)
            if lost_other:
                ratios.append(((len(lost) - lost_other) / lost_other, -lost_other, h))
        _, _, best = min(ratios)
        P.append(best)
        covered -= cut[best]
    return P


if __name__ == "__main__":
    main()
