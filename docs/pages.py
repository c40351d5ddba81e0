"""The pages that are made from the code and the committed results: metrics, methods, the five papers.

    python docs/pages.py        # into docs/_made, which is not in git

Nothing is written twice: what a metric asks stands in its docstring, what was found about a paper in its ``NOTES``.
"""

from __future__ import annotations

import importlib
from itertools import groupby
from pathlib import Path

import pandas as pd

from benchmark import store
from benchmark.leaderboard import tables
from benchmark.methods import registry
from benchmark.metrics.glossary import Entry, entry

ROOT = Path(__file__).parent.parent
PAPERS = {  # a picture of the idea, from the committed results
    "layer_trees": "trees/plots/layer_trees-tree-mnist-mlp-100x10-0-fc10-t0.png",
    "explainn": "quick/plots/explainn-fig4-shared-mnist-explainn_cnn.png",
    "cladec": "quick/plots/cladec-fig8-layers-fashion_mnist-vgg11.png",
    "xnn": "offline/plots/xnn-class-toybirds-cnn-000.png",
    "representative": "offline/plots/representative-fig2-toybirds-cnn.png",
}


def write(folder: Path) -> None:
    """Write all pages into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "metrics.md").write_text(metrics_page())
    (folder / "methods.md").write_text(methods_page())
    for paper in PAPERS:
        (folder / f"{paper}.md").write_text(paper_page(paper))


# --------------------------------------------------------------------------------------------- metrics


def metrics_page() -> str:
    """The glossary, by track."""
    entries = [entry(spec) for spec in registry.metrics().values()]
    controls = control_scores()
    parts = [
        "# Metrics",
        "Each metric gives one value per image; a score is the mean over the images it applies to. *Controls* are a "
        "random map and an edge map that never sees the network: a metric that they win says little. Their scores are "
        "those of the `offline` profile.",
    ]
    for track, (title, what) in tables.TRACKS.items():
        found = [each for each in entries if each.track == track]
        if found:
            parts.append(f"## {title}\n\n{what}")
        found.sort(key=lambda each: (each.family, each.title))
        for family, members in groupby(found, key=lambda each: each.family):
            parts.append(f"### {family.capitalize()}")
            parts += [_metric(each, controls) for each in members]
    return "\n\n".join(parts) + "\n"


def _metric(each: Entry, controls: dict[str, str]) -> str:
    unit = "" if each.unit in ("", "fraction") else f", in {each.unit}"
    lines = [
        f"#### {each.title}",
        f"`{each.name}` · {each.better} is better · {each.range}{unit} · {each.source}",
        f"**{each.question}**",
        _literal(each.formula),
        f"*Weakness:* {each.weakness}.",
    ]
    if each.name in controls:
        lines.append(f"*Controls:* {controls[each.name]}.")
    return "\n\n".join(lines)


def control_scores() -> dict[str, str]:
    """What the controls score in the committed rows of ``offline``, by metric; under its first setting."""
    rows = store.read_rows(ROOT / "results" / "offline" / "rows.csv")
    rows = rows[(rows.paper == "control") & (rows.status == "ok")]
    found = {}
    for metric, part in rows.groupby("metric"):
        part = part[part.metric_setting == part.metric_setting.min()]
        said = []
        for dataset, values in part.groupby("dataset"):
            mean = values.groupby("method").value.mean()
            scores = [f"{name.lower()} {value:.3g}" for name, value in mean.items()]
            said.append(f"{', '.join(scores)} on {dataset}")
        setting = part.metric_setting.iloc[0]
        found[metric] = "; ".join(said) + (f" ({setting})" if setting else "")
    return found


# --------------------------------------------------------------------------------------------- methods


def methods_page() -> str:
    """All methods of the project, with the first paragraph of their files."""
    parts = [
        "# Methods",
        "A profile names a method as `FILE:CLASS`, with settings as `{use: FILE:CLASS, setting: value}`.",
    ]
    for ref in registry.method_refs():
        doc = (registry.load_module(ref.path).__doc__ or "").strip()
        idea = doc.partition("\n\n")[0]
        parts.append(
            f"## {ref.build().name}\n\n`{ref.file}:{ref.cls}`\n\n{_literal(idea)}"
        )
    return "\n\n".join(parts) + "\n"


# --------------------------------------------------------------------------------------------- papers


def paper_page(paper: str) -> str:
    """A paper: its idea with a picture, what was reproduced, what was found."""
    module = importlib.import_module(f"benchmark.papers.{paper}")
    doc = (module.__doc__ or "").strip()
    idea = doc.split("\n\n")[1].removeprefix("Idea: ")
    idea = idea[0].upper() + idea[1:]
    parts = [
        f"# {module.TITLE}",
        module.CITATION,
        "## The idea",
        _literal(idea),
        f"![{module.TITLE}](../../results/{PAPERS[paper]})",
        "## What was reproduced",
        _numbers(paper),
        "The paper's claims, by profile (each profile's `reproduction.md` has the measurements behind a verdict):",
        _claims(paper),
        "## What was found",
        *[f"- {_literal(note)}" for note in module.NOTES],
    ]
    return "\n\n".join(parts) + "\n"


def _numbers(paper: str) -> str:
    numbers = pd.read_csv(ROOT / "results" / "reproduction.csv")
    verdicts = numbers[numbers.paper == paper].verdict.value_counts()
    total, missing = int(verdicts.sum()), int(verdicts.get("not run", 0))
    return (
        f"Of {total} published numbers {total - missing} are measured: {verdicts.get('holds', 0)} agree, "
        f"{verdicts.get('does not hold', 0)} differ and {verdicts.get('undecided', 0)} are undecided."
    )


def _claims(paper: str) -> str:
    """A table: claim, and its verdict in each committed profile."""
    claims = pd.read_csv(ROOT / "results" / "reported" / "claims.csv")
    claims = claims[claims.paper == paper]
    verdicts = {}
    for path in sorted(ROOT.glob("results/*/reproduction.csv")):
        verdicts[path.parent.name] = pd.read_csv(path).set_index("id").verdict
    lines = [
        f"| claim | {' | '.join(verdicts)} |",
        "|---|" + "---|" * len(verdicts),
    ]
    for claim in claims.itertuples():
        said = [found.get(claim.id, "") for found in verdicts.values()]
        text = claim.claim.replace("|", "\\|")
        lines.append(f"| {claim.id} ({claim.source}): {text} | {' | '.join(said)} |")
    return "\n".join(lines)


def _literal(text: str) -> str:
    """Text in which Markdown would see signs of its own: no heading, emphasis, link or formula."""
    text = text.replace("``", "`")
    parts = text.split("`")  # odd ones are code
    for i in range(0, len(parts), 2):
        for sign in ("\\", "*", "_", "[", "]", "<", ">", "$", "#", "|", "~"):
            parts[i] = parts[i].replace(sign, f"\\{sign}")
    return "`".join(parts)


if __name__ == "__main__":
    write(Path(__file__).parent / "_made")
