"""Boxes, polygons, run lengths and masks in the square of the pixels: by hand, and against their definition."""

import numpy as np
import pytest
from PIL import Image

from benchmark.data.regions import (
    Box,
    Frame,
    MaskFile,
    Polygons,
    RegionError,
    Runs,
    read_mask,
    region_of_coco,
    union,
)


def squash(w, h, size):
    return Frame(size / np.array([w, h], float), np.zeros(2), size)


def crop(w, h, size):
    scale = size / min(w, h)
    shift = (np.array([w, h]) - min(w, h)) / 2 * scale
    return Frame(np.full(2, scale), shift, size)


def ones(rows, columns, size):
    mask = np.zeros((size, size), bool)
    mask[rows, columns] = True
    return mask


def test_a_box_by_hand():
    # 40 x 20 pixels to 10 x 10: x times 0.25, y times 0.5
    box = Box(8, 4, 24, 12)
    assert box.corners(squash(40, 20, 10)).tolist() == [2, 2, 6, 6]
    drawn = box.drawn(squash(40, 20, 10))
    assert (drawn == ones(slice(2, 6), slice(2, 6), 10)).all()
    # the middle 20 x 20, halved: 10 pixels are cut at the left
    assert box.corners(crop(40, 20, 10)).tolist() == [0, 2, 7, 6]
    assert squash(40, 20, 10).image_side() == crop(40, 20, 10).image_side() == (40, 20)


def test_a_box_holds_the_pixels_whose_centre_it_holds():
    frame = squash(10, 10, 10)
    assert Box(1.5, 2.6, 3.5, 5).drawn(frame).nonzero()[1].tolist() == [1, 2, 1, 2]
    assert np.unique(Box(1.5, 2.6, 3.5, 5).drawn(frame).nonzero()[0]).tolist() == [3, 4]


@pytest.mark.parametrize("size", [3, 7, 16])
@pytest.mark.parametrize("fit", [squash, crop])
def test_what_is_left_of_an_object_holds_a_pixel(fit, size):
    rng = np.random.default_rng(size)
    w, h = 61, 37
    frame = fit(w, h, size)
    for _ in range(60):
        x, y = rng.uniform(-5, w), rng.uniform(-5, h)
        box = Box(x, y, x + rng.exponential(8), y + rng.exponential(8))
        kept = box.corners(frame)
        drawn = box.drawn(frame)
        assert drawn.any() == (kept is not None)
        if kept is not None:  # as the metrics of boxes count
            first, last = np.ceil(kept[:2] - 0.5), np.ceil(kept[2:] - 0.5) - 1
            held = np.argwhere(drawn)[:, ::-1]
            assert held.min(0).tolist() == first.tolist()
            assert held.max(0).tolist() == last.tolist()


def test_too_thin_a_box_keeps_the_pixel_of_its_middle():
    frame = squash(100, 100, 10)
    assert Box(41, 62, 44, 63).corners(frame).tolist() == [4, 6, 5, 7]
    assert Box(41, 0, 44, 100).corners(frame).tolist() == [4, 0, 5, 10]


def test_polygons_and_runs_of_the_same_rectangle():
    frame = squash(8, 6, 24)
    box = Box(2, 1, 6, 4)
    ring = (2.0, 1.0, 6.0, 1.0, 6.0, 4.0, 2.0, 4.0)
    runs = Runs((13, 3, 3, 3, 3, 3, 3, 3, 14), (6, 8))  # columns of 6
    assert box.area == Polygons((ring,)).area == runs.area == 12
    assert (Polygons((ring,)).drawn(frame) == box.drawn(frame)).all()
    assert (runs.drawn(frame) == box.drawn(frame)).all()


def test_a_polygon_is_what_it_encloses():
    frame = squash(50, 50, 20)
    triangle = Polygons(((5.3, 5.1, 45.0, 10.2, 20.0, 45.4),))
    points = (np.argwhere(np.ones((20, 20)))[:, ::-1] + 0.5) / frame.scale
    corners = np.array(triangle.rings[0]).reshape(-1, 2)
    sides = []
    for a, b in zip(corners, np.roll(corners, -1, 0)):
        (dx, dy), (px, py) = b - a, (points - a).T
        sides.append(dx * py - dy * px)
    inside = (np.array(sides) > 0).all(0).reshape(20, 20)
    assert (triangle.drawn(frame) == inside).all()
    assert 0 < inside.sum() < 400
    speck = Polygons(((11.0, 11.0, 11.2, 11.0, 11.0, 11.2),))
    assert np.argwhere(speck.drawn(frame)).tolist() == [[4, 4]]


def test_objects_are_united():
    frame = squash(10, 10, 10)
    found = union([Box(0, 0, 2, 2), Box(1, 1, 3, 3)], frame)
    assert found.sum() == 7
    assert not union([], frame).any()


def saved(tmp_path, values, mode=None, **more):
    file = tmp_path / "m.png"
    image = Image.fromarray(np.asarray(values, np.uint8), mode)
    image.save(file, **more)
    return file


@pytest.mark.parametrize(
    ("values", "object_"),
    [
        ([[0, 255], [255, 0]], [[0, 1], [1, 0]]),
        ([[0, 1], [1, 0]], [[0, 1], [1, 0]]),
        ([[0, 100], [200, 255]], [[0, 0], [1, 1]]),  # soft edges
        ([[0, 1], [2, 3]], [[0, 1], [1, 1]]),  # numbers of objects
        ([[0, 0], [0, 0]], [[0, 0], [0, 0]]),
        ([[255, 255], [255, 255]], [[1, 1], [1, 1]]),
    ],
)
def test_the_object_of_a_mask(tmp_path, values, object_):
    assert read_mask(saved(tmp_path, values)).astype(int).tolist() == object_


def test_masks_of_class_numbers_have_a_border_that_is_nothing(tmp_path):
    image = Image.fromarray(np.array([[0, 255], [15, 7]], np.uint8)).convert("P")
    image.putdata([0, 255, 15, 7])
    image.save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").astype(int).tolist() == [[0, 0], [1, 1]]


def test_colours_depth_and_transparency_of_masks(tmp_path):
    colours = np.zeros((2, 2, 4), np.uint8)
    colours[0, 0] = 200, 0, 0, 255
    colours[0, 1] = 200, 0, 0, 0  # transparent
    Image.fromarray(colours).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").astype(int).tolist() == [[1, 0], [0, 0]]
    deep = np.array([[0, 65535], [0, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "b.png")
    assert read_mask(tmp_path / "b.png").astype(int).tolist() == [[0, 1], [0, 1]]
    Image.fromarray(deep > 0).save(tmp_path / "c.png")
    assert read_mask(tmp_path / "c.png").astype(int).tolist() == [[0, 1], [0, 1]]


def test_masks_that_cannot_be_used_are_one_line(tmp_path):
    with pytest.raises(RegionError, match="no background: its values are 1, 2, 3"):
        read_mask(saved(tmp_path, [[1, 2], [3, 1]]))
    (tmp_path / "x.png").write_bytes(b"no image")
    for read in (read_mask, lambda f: MaskFile(f).image_side()):
        with pytest.raises(RegionError, match=r"the mask x.png is no image"):
            read(tmp_path / "x.png")


def test_a_mask_moves_as_the_pixels_do(tmp_path):
    """A mask that is a photograph's own bright square is bright in the square of the photograph."""
    from benchmark.data.photos import read_photo

    pixels = np.zeros((30, 50), np.uint8)
    pixels[6:24, 18:36] = 255
    file = saved(tmp_path, pixels)
    for fit in ("squash", "crop"):
        photo = read_photo(file.read_bytes(), 10, fit)
        frame = Frame(photo.scale, photo.shift, 10)
        assert (MaskFile(file).drawn(frame) == (photo.pixels[0] >= 128)).all()


def test_a_speck_keeps_a_pixel_and_what_the_crop_cuts_off_none(tmp_path):
    speck = np.zeros((100, 100), np.uint8)
    speck[31, 77] = 255
    file = saved(tmp_path, speck)
    assert np.argwhere(MaskFile(file).drawn(squash(100, 100, 10))).tolist() == [[3, 7]]
    wide = np.zeros((20, 60), np.uint8)
    wide[3, 2] = 255
    file = saved(tmp_path, wide)
    assert not MaskFile(file).drawn(crop(60, 20, 10)).any()


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ({"segmentation": [[1, 2, 3, 4]]}, "fewer than three points"),
        ({"segmentation": {"counts": [1]}}, "size"),
        ({"bbox": [1, 2, 3]}, "unpack"),
        ({"bbox": ["a", 1, 2, 3]}, "could not convert"),
    ],
)
def test_what_is_not_written_as_cocos_is_one_line(annotation, words):
    with pytest.raises(RegionError, match=words):
        region_of_coco(annotation)


def test_run_lengths_must_fill_the_image():
    with pytest.raises(RegionError, match="sum to 5, not to 2 x 3"):
        Runs((2, 3), (2, 3)).drawn(squash(3, 2, 4))


def test_compressed_run_lengths_need_a_library(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    with pytest.raises(RegionError, match="pip install pycocotools"):
        Runs("abc", (2, 3)).drawn(squash(3, 2, 4))
