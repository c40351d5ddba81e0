"""Kits for studies with people: what is on the page and in the key, checked answers, and scores computed by hand."""

import csv
import html
import io
import json
import re
import shutil

import numpy as np
import pytest

from benchmark import store
from benchmark.jobs import study
from benchmark.leaderboard.render import study_page
from benchmark.utils.errors import UsageError
from benchmark.utils.near_names import UnknownName
from tests.helpers.browser import CHROMIUM, dom
from tests.helpers.command import call, one_line

SETTINGS = {  # for four kinds of blobs
    "xnn": {"training": {"hidden": [8], "epochs": 2, "pretrain": 1}, "images": 4},
    "cladec": {"pairs": 8, "pairs_each": 2, "fitted": 32, "base": 4, "epochs": 1},
    "representative": {"questions": 6, "references": 40, "similar": 2, "told": 70},
}


@pytest.fixture(scope="module")
def kits(tmp_path_factory, blob_network):
    """Each study's kit on the blobs, two forms."""
    from benchmark.pipeline.profile import Profile
    from tests.helpers.places import move_root
    from tests.helpers.workspace import blob_params

    root = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        move_root(patch, root)
        (root / "datasets").mkdir()
        (root / "datasets" / "blobs.py").write_text("DEFAULTS = {}\n")
        place(blob_network)
        profile = Profile.parse(blob_params())
        for paper, settings in SETTINGS.items():
            study.write_kit(
                profile,
                paper,
                root / paper,
                target="blobs/cnn",
                forms=2,
                settings=settings,
            )
    return root


def place(network):
    """The prepared data and the trained network where the profile looks for them."""
    paths = store.Paths("tiny")
    for path in (paths.data("blobs"), paths.target("blobs", "cnn", 0)):
        path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(network / "blobs.npz", paths.data("blobs"))
    for path in network.glob("cnn-0.*"):
        shutil.copy(path, paths.targets("blobs"))


def key_of(folder):
    return json.loads((folder / "key.json").read_text())


def answers(folder, person, form, choose):
    """A sheet of one person: ``choose(id, task)`` is the answer to each task of a form."""
    tasks = key_of(folder)["tasks"]
    rows = [
        (person, name, choose(name, task))
        for name, task in tasks.items()
        if task["form"] == form
    ]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([study.COLUMNS, *rows])
    return text.getvalue()


def any_answer(name, task):
    """The first choice, some words, or a number."""
    return {"choice": (task["choices"] or [""])[0], "text": 'a, "b"', "count": "3"}[
        task["kind"]
    ]


def score(folder, *texts, key=None):
    files = []
    for i, text in enumerate(texts):
        files.append(folder / f"answers-{i}.csv")
        files[-1].write_text(text)
    return study.score_files(files, key)


def value(found, measure, of=""):
    """The one score with this measure and subject."""
    (one,) = (s for s in found.scores if s.measure == measure and s.of == of)
    return one


# --------------------------------------------------------------------------------------------- the kit


@pytest.mark.parametrize("paper", SETTINGS)
def test_a_kit_has_pages_sheets_and_a_key(kits, paper):
    folder = kits / paper
    key = key_of(folder)
    assert key["study"] == paper and key["facts"]["target"] == "cnn"
    for form in (1, 2):
        page = (folder / f"form-{form}.html").read_text()
        shown = re.findall(r'data-task="([^"]+)"', page)
        sheet = list(
            csv.DictReader(io.StringIO((folder / f"form-{form}.csv").read_text()))
        )
        assert shown == [row["task"] for row in sheet] and len(set(shown)) == len(shown)
        assert set(shown) == {n for n, t in key["tasks"].items() if t["form"] == form}
        assert {row["answer"] for row in sheet} == {""}
        for name in shown:
            for choice in key["tasks"][name]["choices"]:
                assert f'name="{name}" value="{html.escape(choice)}"' in page


@pytest.mark.parametrize("paper", SETTINGS)
def test_a_page_loads_nothing_and_names_no_truth(kits, paper):
    page = (kits / paper / "form-1.html").read_text()
    assert "default-src 'none'" in page and page.count("<script") == 1
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert {s.split(":")[0].split("#")[0] for s in sources} <= {"data", ""}
    assert "truth" not in page and "reference" not in page
    text = re.sub(r'src="[^"]*"', "", page)
    for stage in ("NoVis", "1-Heatmap", "words", "sides"):
        assert f">{stage}" not in text
    pictures = re.findall(r"<img [^>]*>", page)
    assert pictures and all(re.search(r' alt="[^"]+"', one) for one in pictures)


def test_the_same_seed_gives_the_same_kit_and_another_seed_another(kits, tmp_path):
    from benchmark.pipeline.profile import Profile
    from tests.helpers.places import move_root
    from tests.helpers.workspace import blob_params

    with pytest.MonkeyPatch.context() as patch:
        move_root(patch, kits)
        for seed in (0, 1):
            study.write_kit(
                Profile.parse(blob_params()),
                "xnn",
                tmp_path / str(seed),
                target="blobs/cnn",
                forms=2,
                seed=seed,
                settings=SETTINGS["xnn"],
            )
    first, again, other = (
        (folder / "form-1.html").read_bytes()
        for folder in (kits / "xnn", tmp_path / "0", tmp_path / "1")
    )
    assert first == again != other


def test_answers_in_a_sheet_are_kept_and_another_kit_is_refused(trained, tmp_path):
    options = {"target": "blobs/cnn", "settings": SETTINGS["representative"]}

    def write(**changes):
        made = trained.profile, "representative", tmp_path
        return study.write_kit(*made, **options | changes)

    written = write(forms=1)
    assert [path.name for path in written] == ["form-1.html", "form-1.csv", "key.json"]
    sheet, page = tmp_path / "form-1.csv", tmp_path / "form-1.html"
    sheet.write_text("person,task,answer\na,1-A-01,Not sure\n")
    before, key = page.read_bytes(), (tmp_path / "key.json").read_bytes()
    write(forms=1)
    assert "Not sure" in sheet.read_text() and page.read_bytes() == before
    with pytest.raises(UsageError, match="holds another kit, which may be in use"):
        write(forms=1, seed=1)
    assert page.read_bytes() == before and (tmp_path / "key.json").read_bytes() == key


def test_stages_of_xnn_are_the_papers(kits):
    tasks = key_of(kits / "xnn")["tasks"]
    for form in (1, 2):
        mine = [task for task in tasks.values() if task["form"] == form]
        stages = list(dict.fromkeys(task["stage"] for task in mine))
        assert stages[0] == "NoVis" and stages[3] == "ratings"
        assert set(stages[1:3]) == {"1-Heatmap", "XNN"}
        images = [t["truth"]["image"] for t in mine if "image" in t["truth"]]
        assert len(images) == len(set(images)) == 12  # three sets of four
    page = (kits / "xnn" / "form-1.html").read_text()
    # 4 images without a map, 4 with one, 4 with seven
    assert page.count("<img") == 4 + 4 * 2 + 4 * 8


def test_both_tests_of_representative_ask_about_the_same_images(kits):
    tasks = key_of(kits / "representative")["tasks"]
    by_test = {}
    for task in tasks.values():
        if task["form"] == 1 and "image" in task["truth"]:
            by_test.setdefault(task["stage"], []).append(task["truth"]["image"])
    a, b = by_test["Test A"], by_test["Test B"]
    assert sorted(a) == sorted(b) and len(a) == 6
    page = (kits / "representative" / "form-1.html").read_text()
    assert "right on about 70\u00a0%" in page and page.count("Show heat map") == 6


def test_each_pair_of_cladec_is_seen_equally_often(kits):
    tasks = key_of(kits / "cladec")["tasks"]
    seen = [t["truth"]["image"] for t in tasks.values() if t["stage"] == "words"]
    assert len(seen) == len(set(seen)) == 4
    sides = [t["truth"] for t in tasks.values() if t["stage"] == "sides"]
    assert sorted(t["image"] for t in sides) == sorted(seen)
    assert {t["reference"] for t in sides} <= {"A", "B"}


def test_small_pictures_are_exact_and_large_ones_are_jpeg():
    pixels = np.random.default_rng(0).random((64, 64, 3))
    assert study_page.data_url(pixels).startswith("data:image/png;base64,")
    larger = np.zeros((65, 65, 3))
    assert study_page.data_url(larger).startswith("data:image/jpeg;base64,")


def test_names_cannot_become_markup(kits):
    from benchmark.papers.kits import Kit, Stage, Task, numbered

    evil = '<script>alert(1)</script>"'
    stages = [Stage("s", evil, evil, [Task(evil, [evil, "b"])])]
    kit = Kit(evil, [evil], [stages])
    page = study_page.render(kit, stages, numbered(0, stages), 1)
    assert "<script>alert" not in page and page.count("<script") == 1


# --------------------------------------------------------------------------------------------- answers


def test_a_whole_sheet_is_scored_and_a_partial_one_says_what_is_missing(kits, capsys):
    folder = kits / "xnn"
    whole = answers(folder, "anna", 1, any_answer)
    some = "".join(answers(folder, "ben", 2, any_answer).splitlines(True)[:4])
    assert score(folder, whole).missing == {}
    found = score(folder, whole, some)
    total = sum(t["form"] == 2 for t in key_of(folder)["tasks"].values())
    assert found.persons == 2 and len(found.missing["ben"]) == total - 3
    (line,) = study.notes(found)
    assert line.startswith(f"ben: {total - 3} answers are missing (2-A-04")
    assert value(found, "purity, %", "NoVis").n == 2
    assert value(found, "purity, %", "XNN").n == 1
    assert call("study", "score", str(folder / "answers-0.csv")) == 0
    assert "72 (CUB), 79 (CEL)" in capsys.readouterr().out
    assert call("study", "score", str(folder / "answers-0.csv"), "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["persons"] == 1 and facts["scores"][0]["low"] is None
    assert call("study", "score", str(folder / "answers-1.csv")) == 1
    assert "scored as far as they go" in one_line(capsys)


HEAD = "person,task,answer\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "a,9-A-01,A\n", "line 2: no task '9-A-01'; did you mean"),
        (HEAD + "a,1-A-01,E\n", "'E' is no answer to 1-A-01; one of A, B, C, D"),
        (HEAD + ",1-A-01,A\n", "line 2: 1-A-01 has an answer and no person"),
        (HEAD + "a,1-A-01,A\na,1-A-01,B\n", "a answers 1-A-01 twice; keep one line"),
        (HEAD + "a,1-A-01,\n", "no task is answered"),
        (HEAD, "no task is answered"),
        ("", "no column 'person'"),
        ("person;task;answer\na;1-A-01;A\n", "no column 'person'; a sheet has"),
        (HEAD + 'a,1-A-01,"A\n', "is damaged"),
    ],
)
def test_a_wrong_sheet_is_one_line_and_exit_code_2(kits, tmp_path, capsys, text, said):
    sheet = tmp_path / "answers.csv"
    sheet.write_text(text)
    assert (
        call("study", "score", str(sheet), "--key", str(kits / "xnn" / "key.json")) == 2
    )
    assert said in one_line(capsys)


def test_a_sheet_that_is_not_there(kits, capsys):
    assert call("study", "score", str(kits / "xnn" / "nobody.csv")) == 2
    assert one_line(capsys).endswith("nobody.csv is missing\n")


@pytest.mark.parametrize("key", [None, "[]", '{"study": "mnist", "tasks": {}}'])
def test_a_key_that_is_none(tmp_path, capsys, key):
    (tmp_path / "a.csv").write_text(HEAD)
    if key is not None:
        (tmp_path / "key.json").write_text(key)
    assert call("study", "score", str(tmp_path / "a.csv")) == 2
    assert "key.json" in one_line(capsys)


def test_a_sheet_by_hand_may_have_spaces_and_small_letters(kits):
    text = "\ufeff" + HEAD + " a , 1-A-01 , b \n"
    found = score(kits / "xnn", text)
    assert value(found, "purity, %", "NoVis").value == 100


def test_unknown_settings_and_networks_are_named(trained, tmp_path):
    profile, kits = trained.profile, tmp_path / "kit"
    with pytest.raises(UnknownName, match="did you mean images"):
        study.write_kit(profile, "xnn", kits, target="blobs/cnn", settings={"image": 1})
    with pytest.raises(UnknownName, match="did you mean blobs/cnn"):
        study.write_kit(profile, "xnn", kits, target="blobs/cn")
    with pytest.raises(UsageError, match="runs no human_study or table1 of xnn"):
        study.write_kit(profile, "xnn", kits)
    for paper, wrong, said in (
        ("xnn", {"classes": [0, 9]}, "different numbers from 0 to 3"),
        ("xnn", {"images": 30}, "fewer than the 150"),
        ("representative", {"classes": [1, 1]}, "about two classes"),
        ("cladec", {"pairs_each": 50}, "fewer than pairs_each=50"),
    ):
        with pytest.raises(UsageError, match=f"study {paper}: .*{said}"):
            study.write_kit(profile, paper, kits, target="blobs/cnn", settings=wrong)
    assert not kits.exists()


def test_every_paper_with_a_study_is_a_command():
    from benchmark.cli.main import STUDIES

    assert sorted(STUDIES) == study.studies()


# --------------------------------------------------------------------------------------------- in a browser

ANSWER = """<script>
const read = [];
const made = URL.createObjectURL;
URL.createObjectURL = (blob) => { read.push(blob.text()); return made(blob); };
HTMLAnchorElement.prototype.click = function () { document.body.dataset.file = this.download; };
for (const task of document.querySelectorAll("[data-task]")) {
  const radio = task.querySelectorAll("input[type=radio]");
  const text = task.querySelector("textarea");
  if (radio.length) radio[radio.length - 1].click();
  if (text) { text.value = 'no zip, a "softer" line\\nsame shape'; }
}
for (const help of document.querySelectorAll(".help")) {
  help.querySelector("summary").click();
  help.querySelector(".enlarge").click();
}
document.getElementById("download").click();
document.body.dataset.refused = String(read.length);
document.getElementById("person").value = "An na";
document.getElementById("download").click();
read[0].then((text) => {
  document.body.dataset.csv = text;
  document.body.dataset.same = String(text === document.getElementById("csv").value);
});
</script></body>"""


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
@pytest.mark.parametrize("paper", SETTINGS)
def test_a_form_is_filled_in_and_what_it_downloads_is_scored(kits, paper, tmp_path):
    folder = kits / paper
    copy = tmp_path / "form.html"
    page = (folder / "form-1.html").read_text()
    copy.write_text(page.replace("</body>", ANSWER))
    text, said = dom(copy, tmp_path / "profile")
    body = re.search(r"<body ([^>]*)>", text).group(1)
    data = {k: html.unescape(v) for k, v in re.findall(r'data-(\w+)="([^"]*)"', body)}
    assert said == ""
    assert data["refused"] == "0"  # without the person's code
    assert data["file"] == "answers-1-An_na.csv" and data["same"] == "true"
    tasks = key_of(folder)["tasks"]
    wanted = {name: task for name, task in tasks.items() if task["form"] == 1}
    rows = list(csv.DictReader(io.StringIO(data["csv"])))
    assert {row["task"] for row in rows} == set(wanted) and len(rows) == len(wanted)
    for row in rows:
        task = wanted[row["task"]]
        assert row["person"] == "An na"
        if task["kind"] == "choice":
            assert row["answer"] == task["choices"][-1]
        elif task["kind"] == "text":
            assert row["answer"] == 'no zip, a "softer" line\nsame shape'
        else:  # six images, two hints each, opened and enlarged
            assert row["answer"] == str(6 * 2 * 2)
    found = score(folder, data["csv"])
    assert found.persons == 1 and not found.missing and found.scores
    progress = re.search(r'id="progress"[^>]*>(\d+) of (\d+) answered', text)
    assert progress.group(1) == progress.group(2)
