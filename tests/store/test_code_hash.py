"""The hash of what code means: what changes it, and what does not."""

import textwrap

import pytest

from benchmark.store import code_hash
from benchmark.store.code_hash import Code

FILES = {
    "benchmark/__init__.py": "",
    "benchmark/store/files.py": "def read(path):\n    return open(path).read()\n",
    "benchmark/shapes.py": """
        '''Shapes.'''
        import math
        from math import floor as down

        SIDES = {"square": 4}

        def area(r):
            '''Of a circle.'''
            return math.pi * r**2  # pi r^2

        def rounded(r, digits=.5):
            return down(area(r)) * digits

        def unused():
            return 1

        class Box:
            offers = ("heatmaps",)

            def __init__(self, w: float, h: float) -> None:
                self.w, self.h = w, h

            def size(self):
                '''w h'''
                return self.w * self.h

            def fit(self):
                return self

            def explain(self):
                return self.size()

            def work(self):
                return 3

        class Other:
            offers = ("heatmaps",)

            def work(self):
                return 4
    """,
    "benchmark/uses.py": """
        from benchmark import shapes, store
        from benchmark.shapes import Box, rounded as about

        def entry(path):
            return about(len(store.read(path)))

        def boxes(box: Box):
            return box.size() + shapes.SIDES["square"]

        def late():
            from benchmark.shapes import unused
            return unused()

        try:
            from benchmark.shapes import area as surface
        except ImportError:
            surface = None

        from benchmark.shapes import unused as one

        def guarded():
            return surface(2)

        class shadowed:
            def a(self, one):
                return one

            def b(self):
                return one()

        METHOD = "plugin.py:Mine?size=3"

        def named():
            return METHOD
    """,
    "plugin.py": "class Mine:\n    name = 'mine'\n",
}


@pytest.fixture
def root(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return tmp_path


def after(root, entry, file, old, new):
    """The hash of ``entry`` before and after an edit."""
    before = Code(root).hash([entry])
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new))
    return before, Code(root).hash([entry])


ENTRY, BOXES = "benchmark.uses:entry", "benchmark.uses:boxes"


def test_a_hash_is_kept_until_a_file_behind_it_changes(root, monkeypatch):
    asked, compute = [], Code._computed
    monkeypatch.setattr(
        Code, "_computed", lambda *given: asked.append(given) or compute(*given)
    )
    first = Code(root).hash([ENTRY])
    assert Code(root).hash([ENTRY]) == first and len(asked) == 1
    (root / "plugin.py").write_text("class Mine: pass\n")  # not behind the entry
    assert Code(root).hash([ENTRY]) == first and len(asked) == 1
    shapes = root / "benchmark" / "shapes.py"
    shapes.write_text(shapes.read_text().replace("return down(", "return 2 * down("))
    assert Code(root).hash([ENTRY]) != first and len(asked) == 2
    shapes.unlink()
    with pytest.raises(KeyError):
        Code(root).hash([ENTRY])


@pytest.fixture
def next_process(root, monkeypatch):
    """The project is ``root``; a call forgets what this process knows, as if the next one began."""
    (root / "results").mkdir()
    monkeypatch.setattr(code_hash, "CODE", Code(root))
    monkeypatch.setattr(code_hash, "KEPT", root / "results" / "hashes.json")
    monkeypatch.setattr(code_hash, "_HASHES", {})
    monkeypatch.setattr(code_hash, "_WRITTEN", {})
    monkeypatch.setattr(code_hash.atexit, "register", lambda function: None)

    def begin():
        code_hash._HASHES.clear()
        code_hash._WRITTEN.clear()
        code_hash._recall.cache_clear()

    begin()
    yield begin
    code_hash._recall.cache_clear()


def test_the_next_process_takes_hashes_over(root, next_process, monkeypatch):
    """Until a byte of the code changes; with a file of them that is damaged or missing they are computed."""
    asked, compute = [], Code._computed
    monkeypatch.setattr(
        Code, "_computed", lambda *given: asked.append(given) or compute(*given)
    )
    shapes, kept = root / "benchmark" / "shapes.py", code_hash.KEPT
    first = Code(root).hash([ENTRY])
    code_hash.keep()
    for change, computed in [
        (lambda: None, 1),
        (lambda: shapes.write_text(shapes.read_text() + "# the end\n"), 2),
        (code_hash.keep, 2),
        (lambda: kept.write_text('{"code": 3'), 3),
        (kept.unlink, 4),
    ]:
        change()
        next_process()
        assert Code(root).hash([ENTRY]) == first
        assert len(asked) == computed
    shapes.write_text(shapes.read_text().replace("return down(", "return 2 * down("))
    assert Code(root).hash([ENTRY]) != first  # in the same process, too


def test_hashes_are_written_only_if_there_are_new_ones(root, next_process):
    Code(root).hash([ENTRY])
    code_hash.keep()
    next_process()
    code_hash._recall()
    code_hash.KEPT.unlink()
    code_hash.keep()
    assert not code_hash.KEPT.exists()
    Code(root).hash(["benchmark.shapes"])
    code_hash.keep()
    assert code_hash.KEPT.exists()


def test_hashes_of_files_elsewhere_are_not_passed_on(root, next_process):
    (root / "mine").mkdir()
    (root / "mine" / "plugin.py").write_text("class Mine: pass\n")
    Code(root).hash(["mine/plugin.py:Mine"])
    code_hash.keep()
    next_process()
    code_hash._recall()
    assert not code_hash._HASHES


@pytest.mark.parametrize(
    ("entry", "file", "old", "new"),
    [
        (
            ENTRY,
            "benchmark/shapes.py",
            "'''Of a circle.'''",
            "'''Of a disc, in squares of the unit.'''",
        ),
        (ENTRY, "benchmark/shapes.py", "  # pi r^2", ""),
        (ENTRY, "benchmark/shapes.py", "return math.pi", "\n\n    return math.pi"),
        (ENTRY, "benchmark/shapes.py", "digits=.5", "digits=0.5"),
        (
            ENTRY,
            "benchmark/shapes.py",
            "def rounded(r, digits=.5):",
            "def rounded(\n    r,\n    digits=.5,\n):",
        ),
        (
            ENTRY,
            "benchmark/shapes.py",
            "down(area(r)) * digits",
            "(down(area(r)) * digits)",
        ),
        (ENTRY, "benchmark/shapes.py", "return 1", "return 2"),  # nobody here calls it
        (
            ENTRY,
            "benchmark/store/files.py",
            "open(path).read()",
            "open(path).read(9)",
        ),  # carries, decides nothing
        (BOXES, "benchmark/shapes.py", "return 3", "return 300"),  # the declared work
        (BOXES, "benchmark/shapes.py", '("heatmaps",)', '("labels",)'),
        (BOXES, "benchmark/shapes.py", '"square"', "'square'"),
        (BOXES, "benchmark/shapes.py", "'''w h'''", '"""Width times height."""'),
    ],
)
def test_words_layout_and_what_is_not_used_change_nothing(root, entry, file, old, new):
    before, now = after(root, entry, file, old, new)
    assert before == now


@pytest.mark.parametrize(
    ("entry", "file", "old", "new"),
    [
        (ENTRY, "benchmark/shapes.py", "r**2", "r**3"),
        (ENTRY, "benchmark/shapes.py", "floor as down", "ceil as down"),
        (ENTRY, "benchmark/shapes.py", "digits=.5", "digits=.6"),
        (
            ENTRY,
            "benchmark/shapes.py",
            "down(area(r)) * digits",
            "down(area(r) * digits)",
        ),
        (ENTRY, "benchmark/uses.py", "rounded as about", "area as about"),
        (
            ENTRY,
            "benchmark/shapes.py",
            "import math\n",
            "import math\nmath.pi = 3\n",
        ),  # done when the module is imported
        (
            BOXES,
            "benchmark/shapes.py",
            "self.w * self.h",
            "self.w + self.h",
        ),  # found by an annotation
        (BOXES, "benchmark/shapes.py", '"square": 4', '"square": 5'),
        (
            "benchmark.shapes:Other",
            "benchmark/shapes.py",
            "return 4",
            "return 5",
        ),  # no method: what it declares may be used
        (
            "benchmark.shapes:Other",
            "benchmark/shapes.py",
            'class Other:\n    offers = ("heatmaps",)',
            "class Other:\n    offers = ()",
        ),
        (
            "benchmark.uses:guarded",
            "benchmark/uses.py",
            "area as surface",
            "rounded as surface",
        ),  # an import inside of try
        (
            "benchmark.uses:shadowed",
            "benchmark/shapes.py",
            "return 1",
            "return 2",
        ),  # another method has such an argument
        ("benchmark.uses:late", "benchmark/shapes.py", "return 1", "return 2"),
        (
            "benchmark.uses:named",
            "plugin.py",
            "'mine'",
            "'yours'",
        ),  # a method that is named by text
        ("plugin.py", "plugin.py", "'mine'", "'yours'"),
    ],
)
def test_what_can_change_a_number_changes_the_hash(root, entry, file, old, new):
    before, now = after(root, entry, file, old, new)
    assert before != now


def test_line_endings_change_nothing(root):
    before = Code(root).hash([ENTRY, BOXES])
    for path in root.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert Code(root).hash([ENTRY, BOXES]) == before


def test_a_definition_that_is_moved_keeps_its_hash(root):
    before = Code(root).hash([ENTRY])
    shapes, uses = root / "benchmark" / "shapes.py", root / "benchmark" / "uses.py"
    (root / "benchmark" / "geometry").mkdir()
    (root / "benchmark" / "geometry" / "__init__.py").write_text(
        "from benchmark.geometry.round import rounded\n"
    )
    shapes.rename(root / "benchmark" / "geometry" / "round.py")
    text = uses.read_text().replace(
        "from benchmark.shapes import Box, rounded",
        "from benchmark.geometry import rounded",
    )
    uses.write_text(text.replace("import shapes, store", "import store"))
    assert Code(root).hash([ENTRY]) == before


def test_what_is_reached_is_said(root):
    code = Code(root)
    assert ("benchmark.shapes", "area") in code.reached([ENTRY])
    assert ("benchmark.shapes", "unused") not in code.reached([ENTRY])
    assert code.files([ENTRY]) == [
        root / "benchmark" / name for name in ("shapes.py", "uses.py")
    ]  # __init__.py does nothing


def test_an_entry_that_is_not_there_is_refused(root):
    with pytest.raises(KeyError, match="no definition 'area2'"):
        Code(root).hash(["benchmark.shapes:area2"])
    with pytest.raises(KeyError, match=r"no module benchmark\.nothing"):
        Code(root).hash(["benchmark.nothing:area"])


GOLDEN = '''
import numpy as np

def mixed(x: "int | None" = None, *args, key=1_000, **more):
    """Syntax whose trees or tokens differ between versions of Python."""
    text = f"{x!r:>{key}} and {more['a']} {x=}" "joined" f'{args[0]:.2f}'
    match x:
        case [1, *rest] if rest:
            return lambda y, /: (yield)
        case {"a": 1.5e3j, **other}:
            raise ValueError(text) from None
    with open(b"a\\x00") as f, open("b"):
        return [i async for i in f if (n := i)]

class Base(dict, metaclass=type):
    number: int = -1
'''


def test_the_hash_is_the_same_on_every_python(tmp_path):
    """The value is that of Python 3.11, 3.12, 3.13, 3.14 and 3.15 alike."""
    (tmp_path / "golden.py").write_text(GOLDEN)
    assert Code(tmp_path).hash(["golden.py"])[:16] == "53092a30894fdefe"
