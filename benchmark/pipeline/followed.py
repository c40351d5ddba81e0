"""How methods of this project see a network of one's own, or one with a file of its own.

Such a network is followed from layer to layer though it is no plain chain (``benchmark.zoo.following``). The code that
follows it is part of its key (``keys.own_key``, ``keys.network_hash``), and so of all that is computed on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmark import engine, store
from benchmark.api import Explanation, NotApplicable, Target
from benchmark.pipeline import protocol
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.inputs import forget, load_batch, load_target
from benchmark.zoo.following import Following
from benchmark.zoo.nets import has_own_file


def is_followed(cell: Cell) -> bool:
    """Is it the cell of a network of one's own, or of one with a file of its own?"""
    try:
        card = store.read_json(cell.weights.with_suffix(".json"))
    except (store.StoreError, OSError):
        return False
    return "use" in card or has_own_file(card.get("net", ""))


def seen_by_its_method(cell: Cell) -> Callable[[Target], Target] | None:
    """What makes a network what the method of a cell sees; None: it sees it as it is."""
    return Following.of if cell.method.own and is_followed(cell) else None


def attempt(cell: Cell) -> tuple[Explanation, dict[str, Any]]:
    """``protocol.attempt`` on the network, followed: the explanation (an empty one if there is none), and a meta with
    status and reason."""
    try:
        target, batch = Following.of(load_target(cell)), load_batch(cell)
        explanation, note = protocol._explained(cell, target, batch, external=False)
        ids = batch.ids.tolist()
    except NotApplicable as reason:
        why = protocol._on_one_line(reason)
        return Explanation(), {"status": "not applicable", "reason": why}
    except Exception as error:
        forget()
        return Explanation(), {"status": "failed", "reason": engine.one_line(error)}
    return explanation, {"status": "ok", "reason": note, "ids": ids}
