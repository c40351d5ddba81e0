"""CPU-seconds of five faithfulness metrics against Quantus, with the forward passes alone as the floor.

Example:
    python speed/field_metrics.py           # grey images of 32 x 32, three networks

Both get the same maps, classes and numbers of changed images, 64 at a time, through the same network. Scores must be
equal before anything is timed: faithfulness correlation (Quantus' draws are replaced by ours), monotonicity correlation
(single pixels, black) and ROAD (no noise). They cannot be for the other two, since Quantus computes something else:
its infidelity hides patches one after the other without restoring them and has no scale, its Sensitivity-n pairs the
relevance of the k-th group with the fall after groups 1 to k. There only the numbers of passes are equal.

``one map`` scores one method; ``six maps`` those of six methods on the same images. What does not depend on a map is
pushed through the network once for all six; ROAD's images depend on it.

Maps are noise and the networks untrained: neither changes the time. Images are grey because Quantus hides single colour
values, not pixels; its warnings are off (with them it is slower).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark.api import METRICS, Array, Batch, Explanation, Target
from benchmark.metrics import regions
from speed import frame
from speed.frame import Row
from speed.metrics import NETS, SIDE, Network, network

GOALS = {"linear": 5, "explainn_cnn": 5, "vgg11": 2}
PIXELS, SIZE, DRAWS = SIDE**2, 102, 16
PATCH = 8  # side of Quantus' patches for infidelity: as many as draws
STEPS = 4  # of ROAD
MAPS = 6
CLOSE = 1e-3  # scores that differ by less are equal: ranks of falls that are equal to rounding


@dataclass
class Case:
    """One metric of both, on one network.

    Attributes:
        passes: changed images of each image.
        equal: must the scores be equal?
        shares: do maps share their passes?
    """

    name: str
    ours: Callable[[Explanation, Batch], Array]
    theirs: Callable[[Array], Any]
    passes: int
    equal: bool = True
    shares: bool = True


@dataclass
class Problem:
    """A network with images and maps of six methods."""

    name: str
    images: int
    target: Target = field(init=False)
    x: torch.Tensor = field(init=False)
    maps: Array = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        self.target = network(self.name)
        shape = (self.images, 1, SIDE, SIDE)
        self.x = torch.from_numpy(rng.random(shape, np.float32))
        self.maps = rng.standard_normal((MAPS, self.images, SIDE, SIDE), np.float32)
        self.classes = self.target(self.x).argmax(1)
        self.plain = Network(self.target).eval()

    def batch(self) -> Batch:
        """The images, nothing remembered."""
        return Batch(x=self.x, y=self.classes)

    def ours(self, name: str, **setting: Any) -> Callable[[Explanation, Batch], Array]:
        def score(e: Explanation, batch: Batch) -> Array:
            rng = np.random.default_rng(0)
            return METRICS[name](e, self.target, batch, rng, images=1, **setting)

        return score

    def theirs(self, metric: type, **setting: Any) -> Callable[[Array], Any]:
        def score(maps: Array) -> Any:
            quiet = {"normalise": False, "abs": False, "disable_warnings": True}
            made = metric(**quiet | setting)
            return made(
                self.plain,
                self.x.numpy(),
                self.classes.numpy(),
                a_batch=maps[:, None].copy(),
                channel_first=True,
                softmax=False,
                device="cpu",
                batch_size=64,
            )

        return score


def cases(problem: Problem, quantus: ModuleType) -> Iterator[Case]:
    """Five metrics; the last one, monotonicity, has a pass for each pixel."""
    ours, theirs = problem.ours, problem.theirs
    faithfulness = theirs(
        quantus.FaithfulnessCorrelation,
        nr_runs=DRAWS,
        subset_size=SIZE,
        perturb_baseline=0.0,
        return_aggregate=False,
    )
    black = {"fill": "black"}
    yield Case(
        "Faithfulness correlation",
        ours("faithfulness_correlation", draws=DRAWS, size=SIZE / PIXELS, **black),
        lambda maps: replayed(faithfulness, maps, problem),
        DRAWS,
    )
    yield Case(
        "Sensitivity-n",
        ours("sensitivity_n", draws=DRAWS, sizes=1, **black),
        theirs(
            quantus.SensitivityN,
            features_in_step=PIXELS // DRAWS,
            perturb_baseline=0.0,
        ),
        DRAWS,
        equal=False,
    )
    yield Case(
        "Infidelity",
        ours("infidelity", draws=DRAWS, **black),
        theirs(
            quantus.Infidelity,
            perturb_patch_sizes=[PATCH],
            n_perturb_samples=1,
            perturb_baseline=0.0,
        ),
        (SIDE // PATCH) ** 2,
        equal=False,
    )
    counts = np.round(np.arange(1, STEPS + 1) / (STEPS + 1) * PIXELS)
    road = theirs(
        quantus.ROAD,
        percentages=(100 * (counts + 0.5) / PIXELS).tolist(),
        perturb_func_kwargs={"noise": 0.0},
    )
    yield Case(
        "ROAD, MoRF",
        lambda e, b: ours("road_morf", steps=STEPS, noise=0.0)(e, b).mean(),
        lambda maps: np.mean(list(road(maps).values())),
        STEPS,
        shares=False,
    )
    yield Case(
        "Monotonicity correlation",
        ours("monotonicity_correlation", grid=SIDE, output="logit", **black),
        theirs(
            quantus.MonotonicityCorrelation,
            nr_samples=1,
            features_in_step=1,
            perturb_baseline=0.0,
            abs=True,
        ),
        PIXELS,
    )


def replayed(score: Callable[[Array], Any], maps: Array, problem: Problem) -> Any:
    """Quantus' metric with the sets that ours draws, for every image the same."""
    sets = regions.subsets(SIZE, DRAWS, problem.batch())
    drawn = iter([np.flatnonzero(row) for row in sets for _ in maps])
    with patch("numpy.random.choice", lambda *_, **__: next(drawn)):
        return score(maps)


def rows(small: bool = False) -> Iterator[Row]:
    try:
        import quantus
    except ImportError:
        sys.exit("Quantus is not installed: pip install 'glassbench[oracles]'")
    for name in list(NETS)[:1] if small else NETS:
        problem = Problem(name, 2 if small else 64)
        *most, _ = cases(problem, quantus)
        for case in most:
            yield from compare(case, problem, (1, MAPS), 2 if small else 3)
        fewer = Problem(name, 1 if small else 16)
        *_, monotonicity = cases(fewer, quantus)
        yield from compare(monotonicity, fewer, (1,), 2 if small else 3)


def compare(
    case: Case, problem: Problem, counts: tuple[int, ...], n: int
) -> Iterator[Row]:
    """One metric on one network, for so many maps."""
    check(case, problem)

    def ours(maps: Array) -> None:
        batch = problem.batch()
        for each in maps:
            case.ours(Explanation(heatmaps=each), batch)

    def theirs(maps: Array) -> None:
        for each in maps:
            case.theirs(each)

    def floor(times: int) -> Callable[[], None]:
        changed = problem.x.repeat(case.passes, 1, 1, 1)

        @torch.inference_mode()
        def passes() -> None:
            for _ in range(times):
                for part in (*changed.split(64), problem.x):
                    problem.target(part)

        return passes

    for count in counts:
        text = "one map" if count == 1 else "six maps"
        maps = problem.maps[:count]
        times = 1 if case.shares else count
        forward = f"{times} x {case.passes} forward passes an image"
        peers = {
            "Quantus": (
                lambda m=maps: theirs(m),
                GOALS[problem.name],
                forward,
                "ratio",
            ),
            "floor": (floor(times), None, forward, "floor"),
        }
        size = f"{text}, {problem.images} images, {problem.name}"
        yield from frame.many(case.name, size, lambda m=maps: ours(m), peers, n=n)


def check(case: Case, problem: Problem) -> None:
    """
    Raises:
        SystemExit: the scores differ where they should not.
    """
    if not case.equal:
        return
    maps = problem.maps[0]
    ours = case.ours(Explanation(heatmaps=maps), problem.batch())
    apart = float(np.abs(np.subtract(ours, case.theirs(maps))).max())
    if not apart <= CLOSE:
        sys.exit(
            f"{case.name}, {problem.name}: scores differ by {apart:.2g}; nothing was timed"
        )


if __name__ == "__main__":
    frame.alone(__doc__, rows)
