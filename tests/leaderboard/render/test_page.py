"""The page: one file that loads nothing, escapes everything, and sorts, filters and links in a real browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.helpers.browser import CHROMIUM, dom
from tests.helpers.leaderboard_inputs import EVIL, built

BOARD = "board-heatmap-digits-cnn"


@pytest.fixture(scope="module")
def page() -> Path:
    return built() / "index.html"


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
        if tag == "a" and (a.get("href") or "").startswith("#"):
            self.links.append(a["href"][1:])
        if "id" in a:
            self.ids.append(a["id"])
        if "data-board" in a and "hidden" in a:
            self.hidden_boards.append(a["data-board"])
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


def test_a_network_at_chance_is_said_in_red(page):
    text = page.read_text()
    assert '<p class="failed">no more than guessing</p>' in text
    assert "<p>it is odd &lt;" in text


def test_page_loads_nothing(page):
    text = page.read_text()
    read = Reader(text)
    assert all(
        source.startswith(("data:image/png;base64,", "#")) for source in read.loads
    )
    assert len([s for s in read.loads if s.startswith("data:")]) >= 3  # the galleries
    styles = "".join(re.findall(r"<style.*?</style>", text, re.DOTALL)) + "".join(
        re.findall(r'style="[^"]*"', text)
    )
    assert "@import" not in styles and not re.search(r"url\(\s*['\"]?(?!#)", styles)
    assert (
        "default-src 'none'" in text
        and "fetch(" not in text
        and "XMLHttpRequest" not in text
    )


def test_page_is_well_formed(page):
    read = Reader(page.read_text())
    assert read.open == [] and len(read.ids) == len(set(read.ids))
    assert {link for link in read.links if link} <= set(read.ids)


def test_names_cannot_become_markup(page):
    text = page.read_text()
    assert EVIL not in text and "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert Reader(text).scripts == 1 and 'href="javascript:' not in text


def test_page_shows_what_failed_and_where_a_control_wins(page):
    text = page.read_text()
    assert "out of memory: 8.1 GiB asked for" in text and "images have no boxes" in text
    assert (
        "gini (3 networks): a control ranks first on digits/cnn (Edge map (Sobel))"
        in text
    )
    assert "Optical digits" in text and "0123456789ab" in text and "LT13" in text


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

    def test_clicks_and_keys_sort(self, page, tmp_path):
        """The same button serves mouse and keyboard: pressed twice, it sorts up, then down, and the link says so."""
        text = page.read_text()
        press = f"""<script>const b = document.querySelector("#{BOARD} thead th:nth-child(4) button");
            b.focus(); b.click(); b.click();
            document.body.dataset.pressed = location.hash + " " + (document.activeElement === b);
            </script></body>"""
        copy = tmp_path / "pressed.html"
        copy.write_text(text.replace("</body>", press))
        read, said = browse(copy, tmp_path / "profile")
        values = list(map(float, read.column(BOARD, 3)))
        assert (
            said == ""
            and values == sorted(values, reverse=True)
            and read.sorted[BOARD][3] == "descending"
        )
