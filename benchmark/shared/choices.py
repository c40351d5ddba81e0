"""Settings that are one of a few words: annotated with ``Literal``, checked here and in a profile before it runs.

variant: Literal["authors", "library"] = "authors"

def __post_init__(self):
    check_choices(self)
"""

from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints


def check_choices(settings: Any) -> None:
    """Check the fields of a dataclass that are annotated with ``Literal``.

    Raises:
        ValueError: a value that the annotation does not name.
    """
    hints = get_type_hints(type(settings))
    for field in fields(settings):
        choices = get_args(hints[field.name])
        if get_origin(hints[field.name]) is not Literal:
            continue
        value = getattr(settings, field.name)
        if value not in choices:
            known = " or ".join(map(repr, choices))
            raise ValueError(f"{field.name} is {known}, not {value!r}")
