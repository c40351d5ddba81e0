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


def check_at_least(least: float, **settings: float) -> None:
    """
    Raises:
        ValueError: a setting that is no number, or below ``least``.
    """
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{name} is {value!r}; expected a number")
        if not least <= value < float("inf"):
            raise ValueError(f"{name} is {value!r}; expected at least {least}")


def check_share(**settings: float) -> None:
    """
    Raises:
        ValueError: a setting outside (0, 1].
    """
    for name, value in settings.items():
        check_at_least(0, **{name: value})
        if not 0 < value <= 1:
            raise ValueError(f"{name} is {value!r}; expected a share in (0, 1]")
