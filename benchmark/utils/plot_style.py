"""One look for every picture: sizes, inks and colours, and files with the same bytes for the same figure.

Ink and grid are legible on white and on black; the palette is seaborn's colour-blind one. Without pyplot: figures are
objects, and nothing global changes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import matplotlib as mpl
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PALETTE = tuple(sns.color_palette("colorblind").as_hex())
INK, MUTED, GRID = "#333333", "#8a8a8a", "#80808040"
NEW = "#a3407c"  # a method that is evaluated, among the known ones
STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "axes.linewidth": 0.6,
    "legend.frameon": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "sans-serif"],
    "axes.unicode_minus": True,
    "axes.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "glassbench",
    "figure.dpi": 100,
}

_NO_METADATA = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}


def file_name(*parts: str) -> str:
    """Parts joined by ``-``; characters that are unsafe in file names or links become ``_``."""
    return "-".join(re.sub(r"[^\w.+-]+", "_", part) for part in parts)


def save(figure: Figure, kind: str, *, dpi: int = 130) -> bytes:
    """The figure as ``svg`` or ``png``."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    metadata = _NO_METADATA[kind]
    with mpl.rc_context(STYLE):
        figure.savefig(
            buffer,
            format=kind,
            metadata=metadata,
            dpi=dpi,
            facecolor="white" if kind == "png" else "none",
        )
    return buffer.getvalue()


def saved(figure: Figure, kinds: Sequence[str], *, dpi: int = 130) -> dict[str, bytes]:
    """The figure as files of these kinds; its layout, which takes as long as drawing, is that of the first."""
    files = {}
    for kind in kinds:
        files[kind] = save(figure, kind, dpi=dpi)
        figure.set_layout_engine("none")
    return files


def plain(text: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")


def shortened(text: str, limit: int = 36) -> str:
    """At most ``limit`` characters, cut with an ellipsis."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
