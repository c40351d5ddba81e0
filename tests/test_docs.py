"""The site builds without a warning; what its pages show is what the code prints."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command import call
from tests.helpers.places import ROOT

PAGES = sorted(
    page for page in (ROOT / "docs").glob("*.md") if page.stem != "python"
)  # test_glassbench has a network for that one
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.S | re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_what_the_code_prints(page, tmp_path, monkeypatch, capsys):
    """Python blocks run one after the other; one that begins with "# name.py" is that file; "$" calls glassbench."""
    monkeypatch.chdir(tmp_path)
    Path("results").symlink_to(ROOT / "results")
    known = {}
    for kind, text in BLOCK.findall(page.read_text()):
        first = text.partition("\n")[0]
        if kind == "console":
            shown, printed = _printed(text, capsys)
            assert re.fullmatch(shown, printed), printed
        elif re.fullmatch(r"# \w+\.py", first):
            Path(first.removeprefix("# ")).write_text(text)
        else:
            exec(compile(text, page.name, "exec"), known)


def _printed(text: str, capsys) -> tuple[str, str]:
    """What a console block shows, as a pattern in which "..." is anything, and what its command prints."""
    command, _, shown = text.partition("\n")
    name, *arguments = command.removeprefix("$ ").split()
    assert name == "glassbench"
    capsys.readouterr()
    assert call(*arguments) == 0
    pattern = re.escape(shown).replace(re.escape("..."), ".*")
    return pattern, capsys.readouterr().out


def test_the_site_builds_without_a_warning(tmp_path):
    """Links, references and docstrings; no network is asked."""
    pytest.importorskip("sphinx")
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*build, ROOT / "docs", tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for page in ("index", "_made/metrics", "_made/xnn", "reference"):
        html = (tmp_path / f"{page}.html").read_text()
        outside = r'<(script|link|img)[^>]*(src|href)="(https?:)?//'
        assert not re.search(outside, html)
