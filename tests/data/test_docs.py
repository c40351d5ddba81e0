"""The examples of docs/your-images.md, read."""

import re

import pytest

from benchmark.cli import main
from benchmark.data.listings import read
from benchmark.data.regions import Box, Polygons, Runs
from tests.helpers import own_images
from tests.helpers.places import ROOT

TEXT = (ROOT / "docs" / "your-images.md").read_text()
BOX = Box(4, 2, 12, 8)


def examples(form):
    return re.findall(rf"```{form}\n(.*?)```", TEXT, re.S)


@pytest.mark.parametrize(
    ("form", "number", "file", "first"),
    [
        ("csv", 0, "list.csv", (BOX, Box(14, 1, 19, 6))),
        ("csv", 1, "list.csv", (BOX,)),
        (
            "json",
            0,
            "list.json",
            (
                BOX,
                Polygons(((14.0, 1.0, 19.0, 1.0, 19.0, 6.0),)),
                Runs((150, 50), (10, 20)),
            ),
        ),
        ("xml", 0, "1.xml", (BOX,)),
    ],
)
def test_the_examples_are_read(tmp_path, form, number, file, first):
    for name in ("1.jpg", "2.jpg"):
        own_images.photo(tmp_path / "images" / name)
        own_images.photo(tmp_path / name)
    (tmp_path / file).write_text(examples(form)[number])
    found = read(tmp_path if form == "xml" else tmp_path / file)
    assert found.items[0].label == "cat" and found.items[0].objects == first
    assert found.annotated and not found.remarks


def test_the_commands_are_understood():
    commands = re.findall(r"^glassbench .*", TEXT, re.M)
    assert len(commands) == 2
    for line in commands:
        command, *_ = line.split("#")
        main.parser().parse_args(command.split()[1:])


def test_every_option_that_is_named_exists():
    options = set(re.findall(r"`(--[a-z-]+)", TEXT))
    known = (ROOT / "benchmark" / "cli" / "main.py").read_text()
    assert options and all(f'"{option}"' in known for option in options)
