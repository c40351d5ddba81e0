"""Which profile a command works on, and its file."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import store
from benchmark.cli.lists import profiles
from benchmark.utils.errors import UsageError
from benchmark.utils.near_names import near

if TYPE_CHECKING:  # it imports torch, which half of the commands do without
    from benchmark.pipeline.profile import Profile

PARAMS = "params.yaml"


def profile_path(name: str | None = None) -> Path:
    """The file of a profile: params.yaml if it holds that profile, else the one that is shipped.

    Without a name: params.yaml if it exists, else offline.

    Raises:
        UnknownName: there is none of this name.
    """
    path, shipped = store.ROOT / PARAMS, profiles()
    if is_chosen(path) and name in (None, store.read_yaml(path).get("profile")):
        return path
    if (name or "offline") not in shipped:
        raise near(name, shipped, "profile")
    return shipped[name or "offline"]


def params_path() -> Path:
    """params.yaml; of an installed wheel the file of offline, if there is none.

    Raises:
        UsageError: there is none in a clone.
    """
    if store.IS_WHEEL:
        return profile_path()
    path = store.ROOT / PARAMS
    if not path.exists():
        names = " | ".join(profiles())
        raise UsageError(
            f"{PARAMS} is missing; choose a profile: glassbench use {names}"
        )
    return path


def is_chosen(path: Path) -> bool:
    """Is this a params.yaml of ours? In the working directory of a wheel it may be another program's."""
    if not path.exists():
        return False
    text = path.read_text(errors="replace") if store.IS_WHEEL else "profile:"
    return re.search(r"^profile:", text, re.MULTILINE) is not None


def load_profile(name: str | None = None) -> Profile:
    """A profile by name, see ``profile_path``."""
    from benchmark.pipeline.profile import Profile

    return Profile.read(profile_path(name))


def load_params() -> Profile:
    """The profile in params.yaml; of an installed wheel offline, if there is none."""
    from benchmark.pipeline.profile import Profile

    return Profile.read(params_path())


def name_of(options: argparse.Namespace) -> str:
    """The name of the profile: from the option, else from params.yaml, which is not checked."""
    name = options.profile or store.read_yaml(params_path()).get("profile")
    if not re.fullmatch(r"\w[\w.-]*", str(name)):
        where = "--profile" if options.profile else PARAMS
        raise UsageError(f"{where}: {str(name)!r} is not a name of a profile")
    return str(name)
