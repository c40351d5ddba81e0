"""The target networks and how they are trained: ``nets`` (architectures), ``recipe``, ``training``, ``pretrained``;
``own``: networks that users bring."""

from benchmark.zoo import resnet, vit  # noqa: F401  (they add themselves to NETS)
from benchmark.zoo.nets import NETS, build
from benchmark.zoo.own import OwnNetwork
from benchmark.zoo.recipe import Recipe
from benchmark.zoo.training import TrainingError, load, train, train_many

__all__ = [
    "NETS",
    "OwnNetwork",
    "Recipe",
    "TrainingError",
    "build",
    "load",
    "train",
    "train_many",
]
