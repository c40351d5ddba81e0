"""The whole build: the same bytes twice, nothing stale, nothing half-written; figures, gallery, README, console."""

from __future__ import annotations

import io
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image
from rich.console import Console
from scipy.stats import kendalltau

from benchmark import store
from benchmark.leaderboard import all_profiles, places, tables
from benchmark.leaderboard.board import Board
from benchmark.leaderboard.build import build
from benchmark.leaderboard.render import console, gallery, markdown, plots, readme
from benchmark.utils import plot_style
from tests.helpers.leaderboard_inputs import EVIL, built, cards, inputs

REPORTED = store.ROOT / "results" / "reported"


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module")
def out() -> Path:
    return built()


@pytest.fixture(scope="module")
def frame() -> object:
    return tables.leaderboard(*inputs())


def small(shuffle: bool = False) -> dict:
    """One board, one metric: enough to build again quickly."""
    rows, instances = inputs()
    rows = rows[
        (rows["target"] == "vgg11") & rows["metric"].isin(["gini", "test_accuracy"])
    ]
    instances = instances[
        (instances["target"] == "vgg11") & (instances["metric"] == "gini")
    ]
    if shuffle:
        rows = rows.sample(frac=1, random_state=1)
        instances = instances.sample(frac=1, random_state=1)
    return (
        {"rows": rows, "board": Board.of(rows, instances)}
        | cards()
        | {"gallery": {("digits", "vgg11"): cards()["gallery"]["digits", "vgg11"]}}
    )


# --------------------------------------------------------------------------------------------- build


def test_build_writes_everything(out, frame):
    names = set(files(out))
    boards = {f"{d}-{t}" for d, t in tables.boards(frame, "heatmap")}
    assert {
        "leaderboard.csv",
        "leaderboard.md",
        "places.csv",
        "reproduction.csv",
        "reproduction.md",
        "index.html",
        "papers.html",
        "reproduction.html",
        "about.html",
    } <= names
    figures = {
        "places-heatmap",
        "agreement-heatmap",
        "duels-heatmap",
        "settings-heatmap",
        *(f"board-heatmap-{b}" for b in boards),
    }
    expected = {f"plots/{f}.{kind}" for f in figures for kind in ("svg", "png")} | {
        f"plots/gallery-{b}.png" for b in boards
    }
    assert {n for n in names if n.startswith("plots/")} == expected


def test_same_input_same_bytes_and_stale_plots_go(tmp_path):
    first, again = tmp_path / "a", tmp_path / "b"
    build(**small(), reported=REPORTED, out=first)
    (again / "plots").mkdir(parents=True)
    for name in ("board-heatmap-old-net.svg", "gallery-old.png", "notes.txt"):
        (again / "plots" / name).write_text("old")
    build(**small(shuffle=True), reported=REPORTED, out=again)
    left = files(again)
    assert left.pop("plots/notes.txt") == b"old"
    assert left == files(first)


def test_build_of_nothing_and_of_networks_alone(tmp_path):
    rows, instances = inputs()
    nothing = {"gallery": None, "data_cards": {}, "target_cards": {}, "provenance": {}}
    none = rows.iloc[:0]
    board = Board.of(none, instances.iloc[:0])
    build(none, board, **nothing, reported=REPORTED, out=tmp_path / "none")
    assert len(board.frame) == 0
    assert "No board" in (tmp_path / "none" / "index.html").read_text()
    networks = rows[rows["track"] == "target"]
    board = Board.of(networks, None)
    build(networks, board, **nothing, reported=REPORTED, out=tmp_path / "networks")
    assert "test accuracy" in (tmp_path / "networks" / "leaderboard.md").read_text()
    assert not list((tmp_path / "networks").glob("plots/*"))


def test_replication_rows_are_in_the_csv_and_not_on_a_board(tmp_path):
    rows, _ = inputs()
    replicated = rows[rows["track"] == "target"].head(3)
    replicated = replicated.assign(
        track="replication",
        paper="layer_trees",
        dataset="digits",
        target="cnn",
        method="layer tree",
        setting="layer=1",
        metric="n_split_nodes",
        seed=[0, 1, 2],
    )
    nothing = {"gallery": {}, "data_cards": {}, "target_cards": {}, "provenance": {}}
    board = Board.of(replicated, None)
    build(replicated, board, **nothing, reported=REPORTED, out=tmp_path)
    assert (
        "layer tree,layer_trees,layer tree,layer=1"
        in (tmp_path / "leaderboard.csv").read_text()
    )
    assert "layer tree" not in (tmp_path / "leaderboard.md").read_text()
    page = (tmp_path / "index.html").read_text()
    assert "Replications" not in page and "papers.html" not in page
    assert not (tmp_path / "papers.html").exists()  # nothing was reproduced here


@pytest.fixture(scope="module")
def with_chapter(tmp_path_factory):
    """The folder of a build with a paper's chapter: a drawing, a photograph, and a picture apart from the page."""
    figure = Figure()
    figure.add_subplot().plot([0, 1])
    svg, png = plot_style.save(figure, "svg"), plot_style.save(figure, "png")
    pictures = [
        {
            "name": "layer_trees-fig1",
            "title": "Unique <i>",
            "caption": "a & b",
            "svg": svg,
            "png": png,
        },
        {"name": "photo-layer_trees-fig2", "title": "Two", "caption": "c", "png": png},
        {
            "name": "layer_trees-one",
            "title": "By itself <b>",
            "caption": "c",
            "png": png,
            "apart": True,
        },
    ]
    chapter = {
        "paper": "layer_trees",
        "title": "Trees",
        "citation": "A, 1999",
        "notes": ["x < y"],
        "lost": "",
        "pictures": pictures,
    }
    folder = tmp_path_factory.mktemp("chapter")
    evidence = {"LT1": "never shown: not judged"}
    given = small() | {"papers": [chapter], "evidence": evidence}
    build(**given, reported=REPORTED, out=folder)
    return folder


def test_a_papers_chapter_is_on_the_page(with_chapter):
    page = (with_chapter / "papers.html").read_text()
    assert "Unique &lt;i&gt;" in page and "a &amp; b" in page and "x &lt; y" in page
    for file in ("layer_trees-fig1.svg", "photo-layer_trees-fig2.png"):
        assert page.count(f'src="plots/{file}"') == 1
    assert page.count("<img") == 2 and 'id="layer_trees-fig1"' in page
    assert "base64" not in page


def test_a_picture_apart_is_linked_and_not_shown(with_chapter):
    page = (with_chapter / "papers.html").read_text()
    assert '<a href="plots/layer_trees-one.png">By itself &lt;b&gt;</a>' in page


def test_the_pictures_of_a_chapter_are_files(with_chapter):
    assert {p.name for p in (with_chapter / "plots").glob("*layer_trees*")} == {
        "layer_trees-fig1.svg",
        "layer_trees-fig1.png",
        "photo-layer_trees-fig2.png",
        "layer_trees-one.png",
    }


def test_a_refused_build_writes_nothing(tmp_path):
    wrong = small()
    wrong["gallery"]["digits", "vgg11"]["maps"]["Grad-CAM"] = np.zeros((2, 2, 2))
    with pytest.raises(
        ValueError,
        match=r"maps of Grad-CAM have shape \(2, 2, 2\); the images want \(5, 48, 48\)",
    ):
        build(**wrong, reported=REPORTED, out=tmp_path / "x")
    assert not (tmp_path / "x").exists()


# --------------------------------------------------------------------------------------------- figures


def test_figures_are_whole(frame):
    part = frame[frame["target"] == "vgg11"]
    figures = list(plots.figures(part, places.places(part)))
    assert figures
    for name, figure in figures:
        picture = Image.open(io.BytesIO(plot_style.save(figure, "png")))
        assert min(picture.size) > 200, name
        ink = np.asarray(picture.convert("L")) < 250
        assert not ink[[0, -1]].any() and not ink[:, [0, -1]].any(), (
            f"{name}: something is cut at the border"
        )


@pytest.mark.parametrize(
    "values",
    [[0.1, 0.25, 0.9], [-3.0, 4.0], [7.0], [1e-6, 4e-6], [1e5 + 0.1, 1e5 + 0.2], []],
)
def test_a_panel_has_the_scale_of_axes_of_its_own(values):
    """A board's panels share one pair of axes: where values and numbers stand, matplotlib says."""
    axes = Figure().add_subplot()
    axes.scatter(values, [0.0] * len(values))
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    low, high = axes.get_xlim()
    scale = plots._Scale.of(np.array([*values, np.nan]))
    ticks, texts, factor = scale.ticks()
    if values:
        assert scale == pytest.approx((low, high), rel=1e-9)
        inside = [at for at in axes.get_xticks() if low <= at <= high]
        assert ticks == pytest.approx(inside)
        axes.xaxis.get_major_formatter().set_locs(inside)
        assert texts == [axes.xaxis.get_major_formatter()(at) for at in inside]
        assert factor == axes.xaxis.get_major_formatter().get_offset()
    assert 0 < scale.at(ticks[0]) < scale.at(ticks[-1]) < plots._WIDTH


def test_a_gallery_is_whole():
    """Each picture where its column and row are, titles and captions inside the border."""
    rng = np.random.default_rng(0)
    name = "Black_footed_Albatross"
    entry = {
        "images": np.full((2, 3, 8, 16), 255, np.uint8),
        "ids": [5, 123456],
        "true": [name, name],
        "predicted": [name, "Red_winged_Blackbird"],
        "boxes": np.array([[4.0, 2.0, 12.0, 6.0], [np.nan] * 4]),
        "maps": {"A method with a long name": rng.random((2, 8, 16))},
    }
    figure = gallery.figure(entry)
    picture = Image.open(io.BytesIO(plot_style.save(figure, "png", dpi=100)))
    grey = np.asarray(picture.convert("L"))
    ink = grey < 250
    assert not ink[[0, -1]].any() and not ink[:, [0, -1]].any()
    (axes,) = figure.axes
    places = [tuple(image.get_extent()) for image in axes.images]
    width, height = 1.01, 1.01 / 2
    row, rest = (
        0.75,
        0.75 - height,
    )  # a caption of six lines is higher than these pictures
    left, top = (1.15, 1.15 + 1.05), (0.4 + rest / 2, 0.4 + row + 0.04 + rest / 2)
    expected = [(x, x + width, y + height, y) for y in top for x in left]
    np.testing.assert_allclose(places, expected)
    (box, _) = axes.patches  # in each picture of the first row
    at = (*box.get_xy(), box.get_width(), box.get_height())
    inch = width / 16  # a pixel
    wanted = (left[0] + 4 * inch, top[0] + 2 * inch, 8 * inch, 4 * inch)
    np.testing.assert_allclose(at, wanted)


def test_names_are_text_not_mathematics_or_markup():
    frame = tables.leaderboard(*inputs()).replace(
        {"label": {EVIL: r"$\frac{<b>$ & _x_"}}
    )
    placed = places.places(frame)
    svg = plot_style.save(plots.places_figure(placed, "heatmap"), "svg").decode()
    assert r"$\frac{&lt;b&gt;$ &amp; _x_" in svg


def test_kendalls_tau_of_all_rows_is_scipys_of_each_two():
    rng = np.random.default_rng(3)
    x = rng.integers(0, 4, (9, 12)).astype(float)  # with ties
    x[rng.random(x.shape) < 0.3] = np.nan
    x[7] = 1.0
    x[8, 2:] = np.nan
    tau = plots._kendall(x)
    for i, j in product(range(9), range(9)):
        a, b = max(i, j), min(i, j)
        both = ~np.isnan(x[a] + x[b])
        u, v = x[a, both], x[b, both]
        if len(u) < 3 or np.ptp(u) == 0 or np.ptp(v) == 0:
            assert np.isnan(tau[i, j])
        else:
            assert tau[i, j] == (1.0 if i == j else kendalltau(u, v).statistic)


def test_files_of_a_picture_share_a_layout():
    def figure():
        found = Figure(figsize=(3, 2), layout="constrained")
        found.subplots(1, 2)[0].set_ylabel("a long label of an axis")
        return found

    made = figure()
    files = plot_style.saved(made, ("svg", "png"))
    assert files["svg"] == plot_style.save(figure(), "svg")
    place = made.axes[0].get_position().bounds
    assert plot_style.save(made, "png") == files["png"]
    assert made.axes[0].get_position().bounds == place


def test_agreement_of_metrics_by_hand():
    """Two metrics that order three methods alike and one that reverses them."""
    frame = tables.leaderboard(*inputs())
    part = frame[
        (frame["target"] == "vgg11")
        & frame["metric"].isin(["gini", "average_drop", "average_increase"])
    ]
    part = part[part["label"].isin(["Grad-CAM", "Random map", EVIL])].copy()
    ranks = {
        "gini": {"Grad-CAM": 1.0, EVIL: 2.0, "Random map": 3.0},
        "average_drop": {"Grad-CAM": 1.0, EVIL: 2.0, "Random map": 3.0},
        "average_increase": {"Grad-CAM": 3.0, EVIL: 2.0, "Random map": 1.0},
    }
    part["rank"] = [
        ranks[m][label] for m, label in zip(part["metric"], part["label"], strict=True)
    ]
    tau = plots.metric_agreement(part, "heatmap")
    assert (
        tau.loc["average drop, keep=0.2", "gini"] == 1
        and tau.loc["average increase, keep=0.2", "gini"] == -1
    )
    assert (np.diag(tau) == 1).all() and tau.equals(tau.T)


def test_overlay_by_hand():
    image = np.zeros((1, 2, 2), np.uint8)
    hot = gallery.overlay(image, np.array([[-1.0, 0.0], [0.0, 3.0]], np.float32))
    brightness = hot.sum(2)
    assert (
        hot.shape == (2, 2, 3)
        and brightness[1, 1] == brightness.max()
        and brightness[0, 0] == brightness.min()
    )
    flat = gallery.overlay(
        np.full((3, 2, 2), 255, np.uint8), np.ones((2, 2), np.float32)
    )
    assert (flat == flat[0, 0]).all() and np.isfinite(flat).all()
    none = gallery.overlay(image, np.full((2, 2), np.nan, np.float32))
    grey = (image / 255).mean(0)[..., None]
    np.testing.assert_allclose(none, np.repeat(0.6 + 0.4 * grey, 3, 2), atol=1e-6)


def test_nothing_global_changes(frame):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    part = frame[frame["target"] == "vgg11"]
    drawn = plots.figures(part, places.places(part))
    meanwhile = [dict(mpl.rcParams) for _ in drawn]
    assert meanwhile and all(params == before for params in meanwhile)


# --------------------------------------------------------------------------------------------- README and terminal


def test_readme_section(out, frame):
    text = (
        "# Title\n\n<!-- leaderboard:offline -->\nold\n<!-- /leaderboard -->\n\nrest\n"
    )
    found = all_profiles.nearest(all_profiles.read(out.parent))
    new = readme.render(text, out.parent, found)
    assert readme.render(new, out.parent, found) == new and "old" not in new
    assert new.startswith("# Title\n\n<!-- leaderboard:offline -->\n") and new.endswith(
        "<!-- /leaderboard -->\n\nrest\n"
    )
    assert "<details>" not in new and " tables count: those with" in new
    assert "| Score-CAM (authors) | 1 (" in new and "<script" not in new
    link = f"{out.parent.name}/offline/plots/gallery-toybirds-cnn.png"
    assert link in new and (out.parent.parent / link).exists()
    with pytest.raises(ValueError, match="no section"):
        readme.render("# Title", out.parent, found)
    with pytest.raises(store.StoreError, match="is missing"):
        readme.render(text.replace("offline", "paper"), out.parent, found)


def test_the_readme_has_the_first_methods_and_all_controls(out, frame, monkeypatch):
    monkeypatch.setattr(readme, "SHOWN", 1)
    board = places.of(places.read(out / "places.csv"), "heatmap")
    assert len(board) > 1 + board["control"].sum()
    text = readme.section(out)
    table = text.split("**Concepts**")[0]
    shown = [
        f"{markdown.name(*line)} |" in table
        for line in board[["label", "control"]].to_numpy()
    ]
    assert shown == [i < 1 or control for i, control in enumerate(board["control"])]
    left = len(board) - sum(shown)
    assert f"And {tables.plural(left, 'more method')}. " in table


def test_readme_counts_the_papers_numbers(out):
    text = "<!-- leaderboard:offline -->\n<!-- /leaderboard -->\n<!-- reproduction -->\nold\n<!-- /reproduction -->\n"
    found = all_profiles.nearest(all_profiles.read(out.parent))
    new = readme.render(text, out.parent, found)
    assert readme.render(new, out.parent, found) == new and "old" not in new
    assert "Of 782 published numbers 0 are measured" in new
    assert "| layer_trees | 150 | 0 |" in new and "| all | 782 | 0 |" in new


def test_the_table_over_all_profiles_is_written_and_checked(out, tmp_path):
    found = all_profiles.nearest(all_profiles.read(out.parent))
    assert not all_profiles.agrees(tmp_path, found)
    readme.write(tmp_path / "README.md", "text", tmp_path, found)
    assert all_profiles.agrees(tmp_path, found)
    assert (tmp_path / "README.md").read_text() == "text"
    assert (
        "# Reproduction over all profiles" in (tmp_path / "reproduction.md").read_text()
    )
    found.loc[3, "verdict"] = "holds"
    assert not all_profiles.agrees(tmp_path, found)


def test_console(out):
    stream = Console(file=io.StringIO(), width=80)
    console.show(out, stream)
    text = stream.file.getvalue()
    unwrapped = " ".join(text.split())
    assert "1  Score-CAM (authors)" in text and EVIL in text
    assert (
        "Score-CAM (authors), deletion AUC (steps=24): failed: out of memory"
        in unwrapped
    )
    assert "tables count: those with a best method that beats every" in unwrapped
    assert all(len(line) <= 80 for line in text.splitlines())
