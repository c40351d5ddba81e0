"""The pages: they load only the pictures beside them, escape everything, and sort, filter and link in a browser."""

from __future__ import annotations

import html
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from benchmark.leaderboard import places, placing, tables
from benchmark.leaderboard.contests import contests
from benchmark.leaderboard.render import exports, plots, plots_ranks
from benchmark.leaderboard.render import gallery as galleries
from benchmark.leaderboard.render import page as render
from benchmark.store import ROOT
from benchmark.utils.plot_style import NEW
from tests.helpers.browser import CHROMIUM, dom
from tests.helpers.leaderboard_inputs import EVIL, built, cards, inputs

BOARD = "board-heatmap-digits-cnn"


PAGES = ("index.html", "papers.html", "reproduction.html", "about.html")


@pytest.fixture(scope="module")
def page() -> Path:
    return built() / "index.html"


@pytest.fixture(params=PAGES)
def any_page(request) -> Path:
    return built() / request.param


class Reader(HTMLParser):
    """Tags that load something, ids, links within the page, balance of tags, and the rows of tables by id."""

    VOID = frozenset(
        [
            "meta",
            "input",
            "img",
            "br",
            "link",
            "path",
            "use",
            "rect",
            "line",
            "image",
            "circle",
        ]
    )

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts = 0
        self.sized = 0
        self.open: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.sorted: dict[str, list[str]] = {}
        self.hidden_rows: dict[str, int] = {}
        self.hidden_boards: list[str] = []
        self._table = ""
        self.feed(text)

    def handle_starttag(
        self, tag: str, attributes: list[tuple[str, str | None]]
    ) -> None:
        a = dict(attributes)
        self.scripts += tag == "script"
        self.loads += [a[k] for k in ("src", "srcset", "data", "poster") if a.get(k)]
        if tag in ("link", "image", "use"):
            self.loads += [a[k] for k in ("href", "xlink:href") if a.get(k)]
        if tag == "a":
            self.links.append(a.get("href") or "")
        if tag == "img":
            self.sized += "width" in a and "height" in a
        if "id" in a:
            self.ids.append(a["id"])
        if "data-board" in a and "hidden" in a:
            self.hidden_boards.append(a["data-board"])
        if tag == "tfoot":
            self._table = ""  # not among the rows
        if tag == "table":
            self._table = a.get("id", "")
            (
                self.tables[self._table],
                self.sorted[self._table],
                self.hidden_rows[self._table],
            ) = (
                [],
                [],
                0,
            )
        if self._table and tag == "th" and "aria-sort" in a:
            self.sorted[self._table].append(a["aria-sort"])
        if self._table and tag == "tr":
            self.tables[self._table].append([])
            self.hidden_rows[self._table] += "hidden" in a
        if self._table and tag in ("td", "th") and self.tables[self._table]:
            self.tables[self._table][-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(
        self, tag: str, attributes: list[tuple[str, str | None]]
    ) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()
        if tag == "table":
            self._table = ""

    def handle_data(self, data: str) -> None:
        if (
            self._table
            and self.tables[self._table]
            and self.tables[self._table][-1]
            and data.strip()
        ):
            self.tables[self._table][-1][-1] += data.strip() + " "

    def column(self, table: str, i: int) -> list[str]:
        return [
            row[i].split(" ")[0] if i else row[i].strip()
            for row in self.tables[table][1:]
        ]


# --------------------------------------------------------------------------------------------- the file


def test_a_network_at_chance_is_said_in_red():
    text = (built() / "about.html").read_text()
    assert '<p class="failed">no more than guessing</p>' in text
    assert "<p>it is odd &lt;" in text


def test_a_page_loads_only_the_pictures_beside_it(any_page):
    text = any_page.read_text()
    read = Reader(text)
    assert all(re.fullmatch(r"plots/[\w.+-]+\.(png|svg)", src) for src in read.loads)
    assert all((any_page.parent / src).is_file() for src in read.loads)
    assert read.sized == len(read.loads)  # room is kept: links land where they should
    styles = "".join(re.findall(r"<style.*?</style>", text, re.DOTALL)) + "".join(
        re.findall(r'style="[^"]*"', text)
    )
    assert "@import" not in styles and not re.search(r"url\(\s*['\"]?(?!#)", styles)
    assert "default-src 'none'" in text and "base64" not in text
    assert "fetch(" not in text and "XMLHttpRequest" not in text


def test_the_first_page_shows_every_board_and_gallery(page):
    loads = set(Reader(page.read_text()).loads)
    shown = {f"plots/{file.name}" for file in page.parent.glob("plots/gallery-*.png")}
    shown |= {f"plots/{file.name}" for file in page.parent.glob("plots/board-*.svg")}
    assert len(shown) == 6 and shown <= loads


def test_pages_are_well_formed_and_their_links_lead_somewhere(any_page):
    read = Reader(any_page.read_text())
    assert read.open == [] and len(read.ids) == len(set(read.ids))
    for link in read.links:
        file, _, name = link.partition("#")
        if not re.match(r"https?:|\.\./", file) and not file.startswith("plots/"):
            other = any_page.parent / (file or any_page.name)
            assert not name or name in Reader(other.read_text()).ids, link


def test_names_cannot_become_markup(any_page):
    text = any_page.read_text()
    assert EVIL not in text
    assert Reader(text).scripts == 1 and 'href="javascript:' not in text


def test_evil_names_are_shown(page):
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.read_text()


def test_pages_show_what_failed_and_where_a_control_wins(page):
    text = page.read_text()
    assert "out of memory: 8.1 GiB asked for" in text and "images have no boxes" in text
    assert "gini: Edge map (Sobel) has the best mean on digits/cnn" in text
    assert "LT13" in (page.parent / "reproduction.html").read_text()
    about = (page.parent / "about.html").read_text()
    assert "Optical digits" in about and "0123456789ab" in about


def test_the_first_page_begins_with_what_was_found(page):
    """The leader of all families is that of ``places.csv``; counts are those of all tables with a control."""
    text = page.read_text()
    assert text.index('id="findings"') < text.index('id="board-')
    placed = places.of(places.read(page.parent / "places.csv"), "heatmap")
    first = placed[placed["place"] == 1]
    rows = Reader(text).tables["found-heatmap"]
    assert rows[1][0].strip() == "all families"
    assert rows[1][1].startswith(first["label"].iloc[0])
    assert rows[1][3].split() == ["in", "3", "of", "22", "tables"]
    assert rows[1][4].strip() == "3"


def test_pages_of_profiles_with_photographs_hold_none():
    """Pictures that may not be passed on stay out of git by their names; pages must not hold them."""
    for file in (ROOT / "results" / "quick").glob("*.html"):
        assert "data:image" not in file.read_text()


def test_the_first_page_of_the_widest_profile_is_small():
    """Of quick, with 5,000 cells; what the glossary adds is 70 kB."""
    frame = tables.read(ROOT / "results/quick/leaderboard.csv")
    placed = places.read(ROOT / "results/quick/places.csv")
    given = {"svgs": {}, "pngs": {}, "data_cards": {}, "target_cards": {}}
    pages = render.render(frame, placed, None, provenance={}, **given)
    assert pages["index.html"].count("<td ") > 5000
    assert len(pages["index.html"].encode()) < 1_400_000


def test_a_cell_says_on_what_it_rests(page):
    """Images, seeds, p, gain; signs are explained in the legend, not in each cell."""
    titles = re.findall(
        r'<td [^>]*data-mark="undecided" title="(.*?)"', page.read_text()
    )
    number = r"[+-]?[\d.]+(e-\d+)?"
    gain = rf"; over the better control: {number} \[{number}, {number}\]"
    asked = re.compile(
        rf"\d+ images, \d seeds?(; no better method: p = {number})?({gain})?"
    )
    assert len(titles) > 5 and all(map(asked.fullmatch, titles))
    assert sum("; over the better" in title for title in titles) > 3


def test_a_metric_is_explained_beside_its_column_and_once_on_a_page(page):
    text = page.read_text()
    assert text.count('popover id="what-gini"') == 1
    assert text.count('popovertarget="what-gini"') == 3  # boards
    assert "what-average_drop" not in text  # the glossary of this build lacks it
    about = (page.parent / "about.html").read_text()
    assert 'id="metric-gini"' in about and "one pixel &lt;all&gt;" in about


# --------------------------------------------------------------------------------------------- in a browser


def browse(page: Path, profile: Path, fragment: str = "") -> tuple[Reader, str]:
    """The page's DOM after its script ran, and what the console said."""
    text, said = dom(page, profile, fragment)
    return Reader(text), said


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
class TestBrowser:
    def test_opens_without_a_word_on_the_console(self, page, tmp_path):
        read, said = browse(page, tmp_path)
        assert said == ""
        assert read.column(BOARD, 0)[:2] == [
            "Score-CAM (authors)",
            "Grad-CAM++ (authors)",
        ]
        assert set(read.sorted[BOARD]) == {"none"} and not any(
            read.hidden_rows.values()
        )

    def test_a_link_sorts_a_table(self, page, tmp_path):
        gini = 6  # column
        read, said = browse(page, tmp_path / "a", f"#sort={BOARD}:{gini}:descending")
        values = list(map(float, read.column(BOARD, gini)))
        assert (
            said == "" and values == sorted(values, reverse=True) and len(values) == 6
        )
        assert read.column(BOARD, 0)[0] == "Edge map (Sobel)"
        assert (
            read.sorted[BOARD][gini] == "descending"
            and read.sorted[BOARD].count("none") == len(read.sorted[BOARD]) - 1
        )
        read, _ = browse(
            page, tmp_path / "b", "#sort=places-heatmap:4:ascending"
        )  # failed: equals keep their order
        assert read.column("places-heatmap", 4) == ["0"] * 5 + ["1"]
        assert read.column("places-heatmap", 0)[:3] == [
            "Grad-CAM++ (authors)",
            "Grad-CAM",
            "Edge map (Sobel)",
        ]
        read, _ = browse(
            page, tmp_path / "c", "#sort=board-heatmap-digits-vgg11:5:descending"
        )
        assert (
            read.column("board-heatmap-digits-vgg11", 5)[-1] == "failed"
        )  # nothing to sort by comes last

    def test_a_link_filters_and_chooses(self, page, tmp_path):
        read, said = browse(page, tmp_path, "#filter=grad-cam&show=toybirds%2Fcnn")
        assert (
            said == "" and read.hidden_rows[BOARD] == 4
        )  # Grad-CAM and Grad-CAM++ stay
        assert sorted(set(read.hidden_boards)) == ["digits/cnn", "digits/vgg11"]

    def test_a_link_to_a_section_keeps_the_filter(self, page, tmp_path):
        site = shutil.copytree(page.parent, tmp_path / "site")
        jump = """<script>
            document.querySelector(".sections a[href='#heatmap']").click();
            setTimeout(() => { document.body.title = location.hash; }, 200);
            </script></body>"""
        copy = site / "index.html"
        copy.write_text(copy.read_text().replace("</body>", jump))
        dumped, said = dom(copy, tmp_path / "profile", "#filter=grad-cam")
        body = html.unescape(re.search(r"<body[^>]*>", dumped)[0])
        assert said == "" and 'title="#filter=grad-cam&at=heatmap"' in body

    def test_clicks_and_keys_sort(self, page, tmp_path):
        """The same button serves mouse and keyboard: pressed once, best first; twice, worst first."""
        site = shutil.copytree(page.parent, tmp_path / "site")
        press = f"""<script>const b = document.querySelector("#{BOARD} thead th:nth-child(4) button");
            b.focus(); b.click(); document.body.title = b.closest("th").ariaSort; b.click();
            document.body.lang = String(document.activeElement === b);
            </script></body>"""
        copy = site / "index.html"
        copy.write_text(copy.read_text().replace("</body>", press))
        dumped, said = dom(copy, tmp_path / "profile")
        read = Reader(dumped)
        values = list(
            map(float, read.column(BOARD, 3))
        )  # average drop: lower is better
        body = re.search(r"<body[^>]*>", dumped)[0]
        assert said == "" and 'title="ascending"' in body and 'lang="true"' in body
        assert values == sorted(values, reverse=True)
        assert read.sorted[BOARD][3] == "descending"

    def test_pictures_are_drawn_and_links_land(self, page, tmp_path):
        """From a folder, without a network: every picture has pixels, and each section, track and board is where its
        links (in the navigation, its heading, what was found) lead."""
        site = shutil.copytree(page.parent, tmp_path / "site")
        probe = """<script>
            const images = [...document.images];
            const check = () => {
                document.body.title = images.filter((image) => !image.naturalWidth).length;
                const padding = parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop);
                const links = [...document.querySelectorAll("a[href^='#']:not(.skip)")];
                const far = links.map((link) => {
                    link.click();
                    const top = document.querySelector(link.hash).getBoundingClientRect().top;
                    const end = innerHeight + scrollY >= document.documentElement.scrollHeight - 1;
                    return end ? 0 : Math.abs(top - padding);
                });
                document.body.lang = `${links.length} links, ${far.filter((pixels) => pixels > 2).length} miss`;
            };
            const wait = (times) => {
                if (times == 0 || images.every((image) => image.complete)) check();
                else setTimeout(() => wait(times - 1), 100);
            };
            addEventListener("load", () => {
                for (const image of images) image.loading = "eager";
                wait(100);
            });</script></body>"""
        copy = site / "index.html"
        copy.write_text(copy.read_text().replace("</body>", probe))
        dumped, said = dom(copy, tmp_path / "profile")
        body = re.search(r"<body[^>]*>", dumped)[0]
        assert said == "" and 'title="0"' in body and 'lang="6 links, 0 miss"' in body

    def test_each_heading_sorts_best_first_and_then_worst_first(self, page, tmp_path):
        """Of every table: what has no value comes last either way, and the link says where the order comes from."""
        site = shutil.copytree(page.parent, tmp_path / "site")
        press = """<script>
            const wrong = [];
            const opposite = { ascending: "descending", descending: "ascending" };
            const compare = (a, b) =>
                typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
            let clicks = 0;
            for (const table of document.querySelectorAll("table.sortable")) {
                [...table.tHead.rows[0].cells].forEach((head, column) => {
                    for (const wanted of [head.dataset.first, opposite[head.dataset.first]]) {
                        head.querySelector("button").click();
                        clicks += 1;
                        const texts = [...table.tBodies[0].rows].map((row) => row.cells[column]).map((cell) =>
                            cell.dataset.sort ?? cell.textContent.trim());
                        const known = texts.filter((text) => text !== "");
                        const isNumber = known.every((text) => !Number.isNaN(Number(text)));
                        const values = isNumber ? known.map(Number) : known;
                        const sign = wanted === "ascending" ? 1 : -1;
                        const ordered = values.every((value, i) => !i || sign * compare(values[i - 1], value) <= 0);
                        const last = texts.slice(known.length).every((text) => text === "");
                        const link = decodeURIComponent(location.hash);
                        const said = link.includes(`sort=${table.id}:${column}:${wanted}`);
                        const right = head.ariaSort === wanted && ordered && last && said;
                        if (!right) wrong.push([table.id, column, wanted]);
                    }
                });
            }
            document.body.title = `${clicks} clicks, wrong: ${wrong.join("; ")}.`;
            </script></body>"""
        copy = site / "index.html"
        copy.write_text(copy.read_text().replace("</body>", press))
        dumped, said = dom(copy, tmp_path / "profile")
        title = re.search(r'<body[^>]*title="([^"]*)"', dumped)[1]
        assert said == "" and re.fullmatch(r"\d\d+ clicks, wrong: \.", title)

    def test_settings_fold_behind_the_first(self, page, tmp_path):
        hidden = re.compile(r'<th[^>]*data-metric="accuracy_top_pixels"[^>]*hidden')
        dumped, _ = dom(page, tmp_path / "a")
        assert len(hidden.findall(dumped)) == 3  # boards
        fragment = f"#open={BOARD}:accuracy_top_pixels"
        dumped, said = dom(page, tmp_path / "b", fragment)
        assert said == "" and len(hidden.findall(dumped)) == 2

    def test_a_filter_that_empties_a_table_hides_its_figure(self, page, tmp_path):
        dumped, said = dom(page, tmp_path, "#filter=nobody")
        parts = re.findall(r"<(?:article|div)[^>]*data-part[^>]*>", dumped)
        assert said == "" and len(parts) == 4
        assert all("empty" in part for part in parts)
        assert '<span id="matches">0 rows</span>' in dumped

    def test_a_button_makes_the_files_of_its_table(self, page, tmp_path):
        """By a script alone, and the same texts as ``exports``: all settings open, nothing filtered or sorted."""
        placed = places.read(page.parent / "places.csv")
        frame = tables.read(page.parent / "leaderboard.csv")
        glossary = cards()["glossary"]
        wanted = dict(exports.exports(frame, placed, glossary))
        site = shutil.copytree(page.parent, tmp_path / "site")
        press = f"""<script>
            const table = document.getElementById("{BOARD}");
            const blobs = [];
            const make = URL.createObjectURL;
            URL.createObjectURL = (blob) => {{ blobs.push(blob); return make(blob); }};
            HTMLAnchorElement.prototype.click = function () {{ blobs.push(this.download); }};
            for (const fold of table.querySelectorAll(".fold")) fold.click();
            const buttons = table.closest("[role=region]").nextElementSibling.querySelectorAll("button");
            for (const button of buttons) button.click();
            Promise.all([blobs[0].text(), blobs[2].text()]).then((texts) => {{
                document.body.replaceChildren();
                document.body.title = JSON.stringify([blobs[1], blobs[3], ...texts,
                    ...[...buttons].map((button) => button.getAttribute("aria-label"))]);
            }});</script></body>"""
        copy = site / "index.html"
        copy.write_text(copy.read_text().replace("</body>", press))
        dumped, said = dom(copy, tmp_path / "profile")
        title = re.search(r'<body[^>]*title="([^"]*)"', dumped)[1]
        csv_name, tex_name, csv, tex, *labels = json.loads(html.unescape(title))
        assert said == ""
        assert (csv_name, tex_name) == (f"{BOARD}.csv", f"{BOARD}.tex")
        assert csv == wanted[csv_name] and tex == wanted[tex_name]
        assert labels[0] == "CSV of the table: Heat maps, digits / cnn"

    def test_a_family_of_metrics_can_be_hidden(self, evaluation, tmp_path):
        """The link keeps it; the columns of other tables stay."""
        away = re.compile(r'<th[^>]*data-family="complexity"[^>]*hidden')
        dumped, said = dom(evaluation, tmp_path / "a")
        assert said == "" and not away.search(dumped)
        shown = 'aria-pressed="true">complexity</button>'
        assert dumped.count(shown) == 3
        dumped, _ = dom(evaluation, tmp_path / "b", f"#hide={BOARD}:complexity")
        assert len(away.findall(dumped)) == 1 and dumped.count(shown) == 2


# --------------------------------------------------------------------------------------------- an evaluation


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory) -> Path:
    """The page of an evaluation of Grad-CAM, beside the other methods; without pictures."""
    rows, instances = inputs()
    found = contests(tables.labelled(rows), instances)
    families = {"gini": "complexity", "pointing_game": "localisation"}
    frame = tables.board(found, families)
    given = cards()
    pages = render.render(
        frame,
        places.places(frame, found),
        None,
        svgs={},
        pngs={},
        data_cards=given["data_cards"],
        target_cards=given["target_cards"],
        provenance=given["provenance"],
        glossary=given["glossary"],
        compared={"Grad-CAM": placing.differences(found, "Grad-CAM")},
    )
    assert sorted(pages) == ["about.html", "index.html"]  # nothing of papers
    folder = tmp_path_factory.mktemp("evaluation")
    for name, text in pages.items():
        (folder / name).write_text(text)
    return folder / "index.html"


def test_the_page_of_an_evaluation_begins_with_whom_it_beats(evaluation):
    text = evaluation.read_text()
    read = Reader(text)
    assert text.index('id="new-Grad-CAM"') < text.index('id="findings"')
    rows = read.tables["rivals-new-Grad-CAM-heatmap"]
    counts = {row[0].strip(): list(map(int, row[2:])) for row in rows[1:]}
    assert len(counts) == 5 and "Grad-CAM" not in counts
    beats, loses = re.findall(r"<dd>(.*?)</dd>", text)[:2]
    for name, (won, lost, *_) in counts.items():
        escaped = html.escape(name, quote=False)
        assert (escaped in beats) == (won > lost)
        assert (escaped in loses) == (won < lost)
    assert counts["Random map"][0] > counts["Random map"][1]


def test_the_page_of_an_evaluation_marks_the_new_method_everywhere(evaluation):
    text = evaluation.read_text()
    rows = re.findall(
        r'<tr class="new" aria-current="true"><th scope="row">(.*?)<', text
    )
    assert [name.strip() for name in rows] == ["Grad-CAM"] * (3 + 1)  # boards, places
    assert text.count('<b class="badge">new</b>') == len(rows)
    assert "reproduction.html" not in text and "papers.html" not in text


def test_photographs_in_a_drawing_keep_their_colours_in_the_dark():
    size = '<svg width="30pt" height="60pt">'
    shown = {}
    for name, inside in {"tree": "<image/>", "curve": "<path/>"}.items():
        svg = f"{size}{inside}</svg>".encode()
        picture = {"name": name, "title": name, "caption": "", "svg": svg, "png": b""}
        shown[name] = render._picture(picture)
    assert not shown["tree"]["drawn"] and shown["curve"]["drawn"]
    assert (shown["tree"]["width"], shown["tree"]["height"]) == (40, 80)


def test_a_data_set_says_where_its_files_come_from():
    file = {"file": "a.tar", "origin": "mirror", "sha256": "0f"}
    card = {"skipped": 0, "provenance": {"changes": "cut", "files": [file]}}
    shown = render._data("a", card)
    assert shown["facts"] == [("changes", "cut")]
    assert shown["files"] == ["a.tar, mirror, 0f"]


def test_figures_mark_the_new_method():
    frame = tables.read(built() / "leaderboard.csv")
    placed = places.read(built() / "places.csv")
    for figure in (
        plots.places_figure(placed, "heatmap", ["Grad-CAM"]),
        plots.board(frame, placed, "heatmap", "digits", "cnn", ["Grad-CAM"]),
        plots_ranks.duels(frame, placed, "heatmap", ["Grad-CAM"]),
    ):
        axes = figure.axes[0]
        names = axes.texts if not axes.axison else axes.get_yticklabels()
        marked = {name.get_text() for name in names if name.get_color() == NEW}
        assert marked == {"Grad-CAM"}


def test_a_method_without_a_rival_is_not_drawn_as_worse():
    frame = tables.read(ROOT / "results/offline/leaderboard.csv")
    placed = places.read(ROOT / "results/offline/places.csv")
    lines = frame[frame["metric"] == "f_reg"]
    figure = plots.board(lines, placed, "surrogate", "digits", "cnn")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["alone"]


def test_no_two_regions_have_one_label(any_page, evaluation):
    for page in (any_page, evaluation):
        labels = re.findall(r'role="region" aria-label="([^"]*)"', page.read_text())
        assert len(labels) == len(set(labels))


def test_code_between_backticks_is_code_and_harmless():
    text = render.code("see `a < b` and <b>")
    assert text == "see <code>a &lt; b</code> and &lt;b&gt;"
    assert render.code("``cap`` or `one`") == "<code>cap</code> or <code>one</code>"


def test_pictures_stand_side_by_side_on_one_line():
    def png(width: int, height: int, grey: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (width, height), (grey,) * 3).save(buffer, "png")
        return buffer.getvalue()

    both = Image.open(io.BytesIO(galleries.beside(png(2, 3, 0), png(4, 5, 100))))
    assert both.size == (6, 5)
    assert both.getpixel((0, 1)) == (255,) * 3 and both.getpixel((0, 4)) == (0,) * 3
    assert both.getpixel((2, 0)) == (100,) * 3
