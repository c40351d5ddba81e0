"""Settings that are one of a few words."""

import inspect
from dataclasses import dataclass, fields, is_dataclass
from typing import Literal, get_args, get_type_hints

import pytest

from benchmark.methods import registry
from benchmark.shared.choices import check_choices

OWN = [
    cls
    for file in registry.method_files()
    for cls in vars(registry.load_module(file)).values()
    if inspect.isclass(cls) and is_dataclass(cls) and hasattr(cls, "explain")
]


@dataclass
class Toy:
    fill: Literal["mean", "black"] = "mean"
    layer: str | None = None

    def __post_init__(self):
        check_choices(self)


def test_a_word_that_the_annotation_names():
    assert Toy("black", "anything").fill == "black"


def test_another_word():
    with pytest.raises(ValueError, match="fill is 'mean' or 'black', not 'grey'"):
        Toy("grey")


@pytest.mark.parametrize("cls", OWN, ids=lambda cls: cls.__name__)
def test_every_method_refuses_a_variant_that_it_does_not_have(cls):
    """A method whose text setting is not annotated with its words would take any text."""
    hints = get_type_hints(cls)
    for field in fields(cls):
        if field.init and field.name in ("variant", "fill"):
            assert get_args(hints[field.name])
            with pytest.raises(ValueError, match=f"{field.name} is .* not 'nothing'"):
                cls(**{field.name: "nothing"})
