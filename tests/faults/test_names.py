"""Names that try to be markup, paths or options: escaped or refused. And files that try to be code: never run."""

import contextlib
import io
import os
import zipfile
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark import data, store
from benchmark.cli import main
from benchmark.jobs import evaluate
from benchmark.leaderboard import places, reproduction, tables
from benchmark.leaderboard.render import gallery, markdown, page, reproduction_markdown
from benchmark.methods.registry import MethodRef
from benchmark.pipeline import cells, explain, score
from benchmark.store import files
from benchmark.utils import plot_style
from benchmark.utils.near_names import ProfileError
from benchmark.zoo import pretrained
from tests.helpers import leaderboard_inputs

METHOD = """
import numpy as np
from benchmark.api import Explanation


class Mine:
    name = "Mine"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        return Explanation(heatmaps=rng.random((len(batch), *batch.x.shape[2:])))
"""

_PIXEL = io.BytesIO()
Image.new("RGB", (1, 1)).save(_PIXEL, "png")
PIXEL = _PIXEL.getvalue()

EVIL = {
    "tag": "<script>alert(1)</script>",
    "attribute": '"><img src=x onerror=alert(1)>',
    "quote": "' onmouseover='alert(1)",
    "svg": "</text></svg><script>alert(1)</script>",
    "template": "{{ 7 * 7 }}{% include 'page.css' %}",
    "table": "a | b\n| c |",
}


class Tags(HTMLParser):
    """Tags and attributes as a browser sees them."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.handlers, self.addresses = [], [], []
        self._script = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self._script = tag == "script"
        self.handlers += [name for name, _ in attributes if name.startswith("on")]
        self.addresses += [
            value for name, value in attributes if name in ("href", "src") and value
        ]

    def handle_data(self, text):
        if self._script:
            self.scripts.append(text)
            self._script = False


def is_harmless(html):
    tags = Tags(html)
    assert not tags.handlers
    assert not [s for s in tags.scripts if "alert(1)" in s]
    assert not [a for a in tags.addresses if a.startswith("javascript:") or a == "x"]
    return True


@pytest.fixture(scope="module")
def board():
    """One small board, as ``tables.leaderboard`` makes it."""
    rows, instances = leaderboard_inputs.inputs()
    small = [
        frame[frame.seed.eq(0) & frame.dataset.eq("digits") & frame.target.eq("cnn")]
        for frame in (rows, instances)
    ]
    return tables.leaderboard(*small)


def renamed(frame, evil):
    """Everything that has a name has an evil one."""
    frame = frame.assign(dataset=evil, target=evil, unit=evil)
    for column, name in (
        ("method", "Grad-CAM"),
        ("label", "Grad-CAM"),
        ("metric", "average_drop"),
        ("paper", "user"),
    ):
        frame[column] = frame[column].where(frame[column] != name, evil)
    lost = frame["metric"].eq("average_increase") & frame["method"].eq("Grad-CAM++")
    frame.loc[lost, ["status", "reason"]] = "failed", evil
    return frame


def published_as(evil):
    """Published numbers beside the measured ones, of which every text but the paper is ``evil``."""
    reported = store.ROOT / "results" / "reported"
    evidence = {"RI01": evil}
    rows, _ = leaderboard_inputs.inputs()
    table = reproduction.table(
        rows, reported, data_cards={}, target_cards={}, evidence=evidence
    )
    table = table.head(40)
    text = [
        column
        for column in table
        if column != "paper"
        and table[column].map(lambda value: isinstance(value, str)).any()
    ]
    return table.assign(**dict.fromkeys(text, evil))


def cards_as(evil):
    """What a page says of data, networks, papers and its origin."""
    texts = dict.fromkeys(
        ("title", "what", "licence", "citation", "url", "resize"), evil
    )
    card = texts | {"counts": {evil: 1}, "classes": [evil]}
    network = dict.fromkeys(("name", "net", "layer"), evil) | {
        "epochs": 1,
        "parameters": 1,
        "train_accuracy": 1.0,
        "test_accuracy": 1.0,
        "recipe": {evil: evil},
    }
    chapter = dict.fromkeys(("title", "citation", "lost"), evil) | {
        "paper": "xnn",
        "notes": [evil],
        "pictures": [{"name": "a", "title": evil, "caption": evil, "png": PIXEL}],
    }
    return {
        "data_cards": {evil: card, "b": card | {"url": "javascript:alert(1)"}},
        "target_cards": {(evil, evil, 0): network},
        "provenance": {"profile": evil, "made": {"commit": evil}, "a": {evil: evil}},
        "papers": [chapter],
    }


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)
def test_a_name_is_text_on_the_page(board, evil):
    frame = renamed(board, evil)
    placed = places.places(frame)
    words = ("title", "question", "formula", "range", "weakness", "family", "source")
    entry = dict.fromkeys(words, evil) | {"better": "lower", "unit": "", "track": ""}
    pages = page.render(
        frame,
        placed,
        published_as(evil),
        svgs={},
        pngs={},
        glossary={name: entry | {"name": name} for name in frame["metric"].unique()},
        **cards_as(evil),
    )
    assert len(pages) == 4
    for html in pages.values():
        assert is_harmless(html)
        assert "<" not in evil or evil not in html


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)
def test_a_name_is_text_in_markdown(board, evil):
    frame = renamed(board, evil)
    published = published_as(evil)
    for text in (
        markdown.render(frame, places.places(frame), evil),
        reproduction_markdown.render(published, evil),
    ):
        assert "<script" not in text and "<img" not in text
        lines = [block.splitlines() for block in text.replace("\\|", "").split("\n\n")]
        bars = [
            {line.count("|") for line in block if line.startswith("|")}
            for block in lines
        ]
        assert any(bars)
        assert max(map(len, bars)) == 1  # no name opens or closes a cell


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)
def test_a_name_is_text_in_a_drawing(evil):
    """SVG goes into the page as it is: what draws it escapes."""
    shade = np.zeros((1, 8, 8), np.float32)
    entry = {
        "images": np.zeros((1, 1, 8, 8), np.uint8),
        "ids": [0],
        "true": [evil],
        "predicted": [evil],
        "boxes": None,
        "maps": {evil: shade},
    }
    svg = plot_style.save(gallery.figure(entry), "svg").decode()
    assert is_harmless(svg) and "<script" not in svg and "<img" not in svg


def test_a_page_that_is_evil_is_found_out():
    for text in (
        "<script>alert(1)</script>",
        '<img src="x">',
        "<p onclick='a'>",
        '<a href="javascript:alert(1)">',
    ):
        with pytest.raises(AssertionError):
            is_harmless(text)


# --------------------------------------------------------------------------------------------- files of methods

ODD = [
    "with space.py",
    "quote's.py",
    'double".py',
    "ünï-日本.py",
    "-leading.py",
    "semi;colon$(touch pwned).py",
    "dots..py",
    ".hidden.py",
    "percent%s{}.py",
    "a=b&c.py",
    "line\nbreak.py",
    "tag<b>.py",
]


@pytest.mark.parametrize("name", ODD)
def test_files_of_an_oddly_named_plug_in_stay_in_their_folder(trained, name):
    (trained.root / "odd").mkdir()
    path = trained.root / "odd" / name
    path.write_text(METHOD)
    before = {p for p in trained.root.rglob("*")}
    trained.params["explain"]["methods"] = [f"{path}:Mine"]
    (cell,) = cells.cells(trained.profile, "blobs")
    explain.explain_cell(cell)
    score.score_cell(cell)
    rows = store.read_scores(cell.scores)[0]
    assert set(rows.method) == {"Mine"} and "failed" not in set(rows.status)
    made = {
        p
        for p in trained.root.rglob("*")
        if p.is_file() and p.parent.name != "__pycache__"
    } - before
    assert made == {cell.explanation, cell.scores}
    assert cell.explanation.name.isascii() and all(
        c.isalnum() or c in "-=._" for c in cell.explanation.name
    )
    assert not cell.explanation.name.startswith(("-", "."))


def test_a_path_that_goes_up_and_down_is_the_file_that_it_names(trained):
    (trained.root / "a").mkdir()
    (trained.root / "mine.py").write_text(METHOD)
    ref = MethodRef.parse("a/../mine.py:Mine", base=trained.root)
    assert (
        ref.path == trained.root / "mine.py"
        and "/" not in ref.slug
        and ".." not in ref.slug
    )


@pytest.mark.parametrize(
    "use",
    [
        "mine.py",
        "mine.py:",
        ":Mine",
        "mine.py:Mine; import os",
        "mine.py:os.system",
        "../../x.py:Mine",
        "--help:Mine",
        "what?.py:Mine",
        "mine.py:Mine:Mine\n",
    ],
)
def test_what_names_no_method_is_refused(trained, use, capsys):
    trained.params["explain"]["methods"] = [use]
    trained.save()
    assert main.main(["explain"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/x", "..", "-rf", "a b", "<script>", ".hidden", ""]
)
def test_the_folder_of_an_evaluation_is_below_its_own(name):
    folder = evaluate._folder(name)
    assert (
        folder == os.path.basename(folder)
        and folder not in ("", ".", "..")
        and folder[0] not in "-."
    )
    assert all(c.isalnum() or c in "._-" for c in folder)


@pytest.mark.parametrize(
    "name", ["../up", "/etc", "a/b", "..", ".hidden", "-dash", "new\nline", "<b>", ""]
)
@pytest.mark.parametrize("what", ["profile", "datasets", "zoo"])
def test_a_profile_whose_names_are_paths_is_refused(workspace, what, name, capsys):
    """They become folders and files."""
    params = workspace.params
    if what == "profile":
        params["profile"] = name
    elif what == "datasets":
        params |= {
            "datasets": [name],
            "zoo": {name: params["zoo"]["blobs"]},
            "data": {},
        }
    else:
        params["zoo"]["blobs"] = {name: params["zoo"]["blobs"]["cnn"]}
    workspace.save()
    before = sorted(workspace.root.rglob("*"))
    assert main.main(["train"]) == 2
    line = capsys.readouterr().err
    assert "params.yaml" in line and "is not a name" in line and line.count("\n") == 1
    assert sorted(workspace.root.rglob("*")) == before


# --------------------------------------------------------------------------------------------- files that would be code


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def bombs(tmp_path):
    """An npz and a .pt that would make a folder; its path."""
    mark = tmp_path / "ran"
    np.savez(
        tmp_path / "a.npz",
        x=np.array([Bomb(mark)], dtype=object),
        card=np.array([Bomb(mark)], dtype=object),
        meta=np.array([Bomb(mark)], dtype=object),
    )
    torch.save({"weight": Bomb(mark)}, tmp_path / "a.pt")
    return mark


READERS = {
    "npz": store.read_npz,
    "data set": data.load,
    "card": data.load_card,
    "scores": store.read_scores,
    "key": lambda p: store.read_npz(p, ["x"]),
    "values": store.read_values,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_an_npz_of_objects_is_never_unpickled(tmp_path, bombs, read):
    with pytest.raises(store.StoreError, match="damaged"):
        read(tmp_path / "a.npz")
    assert not bombs.exists()


def test_weights_that_would_run_code_are_never_unpickled(tmp_path, bombs):
    with pytest.raises(store.StoreError, match="damaged"):
        pretrained._read(tmp_path / "a.pt")
    with pytest.raises(store.StoreError, match="damaged"):
        store.read_weights(tmp_path / "a.pt")
    assert not bombs.exists()
    torch.load(tmp_path / "a.pt", weights_only=False)  # the bomb is one
    assert bombs.exists()


def test_maps_of_objects_are_never_unpickled(trained, bombs, tmp_path):
    trained.params["explain"]["methods"] = [str(tmp_path / "a.npz")]
    with pytest.raises(ProfileError, match="which are never opened; maps are written"):
        _ = trained.profile
    assert not bombs.exists()


def test_a_yaml_file_makes_no_objects(tmp_path):
    (tmp_path / "params.yaml").write_text(
        f"profile: !!python/object/apply:os.mkdir [{tmp_path / 'ran'}]\n"
    )
    with pytest.raises(store.StoreError, match="damaged"):
        store.read_yaml(tmp_path / "params.yaml")
    assert not (tmp_path / "ran").exists()


def test_an_npz_that_unpacks_to_more_than_memory_holds_is_refused(
    tmp_path, monkeypatch
):
    store.write_npz(
        tmp_path / "a.npz", {"x": np.zeros(1 << 20)}
    )  # 8 MB of zeros in a few kilobytes
    assert (tmp_path / "a.npz").stat().st_size < 1 << 16
    monkeypatch.setattr(files, "MAX_ARRAY_BYTES", 1 << 22)
    with pytest.raises(store.StoreError, match="8388736 bytes once it is unpacked"):
        store.read_npz(tmp_path / "a.npz")


def test_an_npz_whose_members_climb_lands_nowhere(tmp_path):
    """Members are read by name, never unpacked."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("../../x.npy", b"no array")
    before = sorted(tmp_path.parent.iterdir())
    with contextlib.suppress(store.StoreError):
        store.read_npz(tmp_path / "a.npz")
    assert sorted(tmp_path.parent.iterdir()) == before
