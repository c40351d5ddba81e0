"""Photographs: depth, orientation and transparency come out as a viewer would show them."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from benchmark.data import photos
from benchmark.data.photos import (
    NOT_TURNED,
    ON_WHITE,
    TURNED,
    read_photo,
    read_photos,
    to_rgb,
)

RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)


def encoded(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def grey(raw):
    photo = read_photo(raw, 256, "squash")
    assert (photo.pixels == photo.pixels[:1]).all()
    return photo.pixels[0], photo.notes


@pytest.mark.parametrize(
    ("form", "dtype"),
    [("PNG", "<u2"), ("TIFF", "<u2"), ("TIFF", ">u2"), ("TIFF", "<i4")],
)
def test_16_bits_keep_all_their_levels(form, dtype):
    image = Image.fromarray(RAMP.astype(dtype))
    pixels, notes = grey(encoded(image, form))
    assert len(np.unique(pixels)) == 256
    assert pixels.mean() == pytest.approx(127.5, abs=0.1)
    assert notes == ("16 bits scaled to 8",)


@pytest.mark.parametrize(
    ("scale", "note"),
    [
        (1 / 65535, "floats 0..1 scaled to 8 bits"),
        (1, "floats scaled by the range of each file"),
    ],
)
def test_floats_are_scaled_by_their_range_and_say_so(scale, note):
    image = Image.fromarray(RAMP.astype(np.float32) * np.float32(scale))
    pixels, notes = grey(encoded(image, "TIFF"))
    assert pixels.mean() == pytest.approx(127.5, abs=0.1)
    assert notes == (note,)


def test_twelve_bits_in_sixteen_are_scaled_by_the_file_s_own_word():
    tags = ImageFileDirectory_v2()
    tags[281] = 4095
    image = Image.fromarray(RAMP // 16)
    pixels, notes = grey(encoded(image, "TIFF", tiffinfo=tags))
    assert pixels.mean() == pytest.approx(127.5, abs=0.1)
    assert notes == ("0..4095 scaled to 8 bits",)


def test_twelve_bits_in_sixteen_without_a_word_are_dark_and_say_so():
    pixels, (note,) = grey(encoded(Image.fromarray(RAMP // 16)))
    assert pixels.max() == 16
    assert "12 bits" in note


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_no_image(bad):
    image = Image.fromarray(np.full((4, 4), bad, np.float32))
    assert read_photo(encoded(image, "TIFF"), 4, "squash") is None


def test_a_constant_float_image_is_black():
    image = Image.fromarray(np.full((4, 4), 7, np.float32))
    assert (read_photo(encoded(image, "TIFF"), 4, "squash").pixels == 0).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_white(mode):
    colours = np.zeros((4, 4, 4), np.uint8)
    colours[:2] = 255, 0, 0, 0  # red hidden under full transparency
    colours[2:] = 0, 0, 0, 255
    image = Image.fromarray(colours).convert(mode)
    photo = read_photo(encoded(image), 4, "squash")
    assert (photo.pixels[:, :2] == 255).all()
    assert (photo.pixels[:, 2:] == 0).all()
    assert photo.notes == (ON_WHITE,)


def test_an_opaque_alpha_channel_changes_nothing():
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (8, 8, 3), np.uint8)
    opaque = np.dstack([colours, np.full((8, 8), 255, np.uint8)])
    photo = read_photo(encoded(Image.fromarray(opaque)), 8, "squash")
    np.testing.assert_array_equal(photo.pixels, colours.transpose(2, 0, 1))
    assert photo.notes == ()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_come_out_upright(orientation):
    scene = np.zeros((6, 6, 3), np.uint8)
    scene[0] = 250  # white above
    scene[:, 0, 0] = 200  # and reddish on the left
    back = {
        2: "FLIP_LEFT_RIGHT",
        3: "ROTATE_180",
        4: "FLIP_TOP_BOTTOM",
        5: "TRANSPOSE",
        6: "ROTATE_90",
    }
    back |= {7: "TRANSVERSE", 8: "ROTATE_270"}
    stored = Image.fromarray(scene)
    if orientation > 1:
        stored = stored.transpose(getattr(Image.Transpose, back[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    raw = encoded(stored, "PNG", exif=exif)
    turned = read_photo(raw, 6, "squash")
    np.testing.assert_array_equal(turned.pixels, scene.transpose(2, 0, 1))
    assert turned.notes == ((TURNED,) if orientation > 1 else ())
    as_stored = read_photo(raw, 6, "squash", upright=False)
    np.testing.assert_array_equal(
        as_stored.pixels, np.asarray(stored).transpose(2, 0, 1)
    )
    assert as_stored.notes == ((NOT_TURNED,) if orientation > 1 else ())


def test_the_orientation_of_a_jpeg_is_applied_before_the_crop():
    wide = Image.fromarray(
        np.repeat(np.uint8([[0] * 8 + [255] * 8]), 8, axis=0)
    )  # 16 x 8, dark on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise: dark above
    photo = read_photo(encoded(wide, "JPEG", exif=exif, quality=100), 8, "crop")
    assert photo.pixels[:, 0].mean() < 10 < 245 < photo.pixels[:, -1].mean()
    np.testing.assert_array_equal(photo.shift, [0, 4])


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "CMYK", "YCbCr"])
def test_other_modes_are_converted_as_pillow_does(mode):
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).convert(mode)
    rgb, notes = to_rgb(image)
    np.testing.assert_array_equal(np.asarray(rgb), np.asarray(image.convert("RGB")))
    assert notes == ()


def test_the_names_of_orientations_are_pillow_s_own():
    image = Image.fromarray(np.uint8([[0, 255]]))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(image, exif=exif))))
    assert np.asarray(turned).tolist() == [[0], [255]]


@pytest.mark.parametrize("fit", ["squash", "crop"])
@pytest.mark.parametrize("shape", [(60, 100), (100, 60), (32, 32), (10, 20)])
def test_a_photo_and_its_coordinates_move_alike(fit, shape):
    h, w = shape
    pixels = np.zeros((h, w, 3), np.uint8)
    y0, y1, x0, x1 = h * 2 // 5, h * 4 // 5, w * 2 // 5, w * 3 // 5
    pixels[y0:y1, x0:x1] = 255
    photo = read_photo(encoded(Image.fromarray(pixels)), 40, fit)
    assert photo.pixels.shape == (3, 40, 40)
    (a, b), (c, d) = np.array([(x0, y0), (x1, y1)]) * photo.scale - photo.shift
    area = (c - a) * (d - b)
    assert photo.pixels[0].sum() / 255 == pytest.approx(
        area, rel=0.03
    )  # bilinear filters keep the mass
    rows, columns = (photo.pixels[0] > 127).any(1), (photo.pixels[0] > 127).any(0)
    assert np.abs(np.flatnonzero(columns)[[0, -1]] + (0, 1) - (a, c)).max() <= 0.5
    assert np.abs(np.flatnonzero(rows)[[0, -1]] + (0, 1) - (b, d)).max() <= 0.5


def test_a_crop_keeps_the_centre():
    pixels = np.repeat(np.arange(100, dtype=np.uint8)[None, :, None], 40, 0).repeat(
        3, 2
    )  # (40, 100): the column's number
    photo = read_photo(encoded(Image.fromarray(pixels)), 40, "crop")
    assert photo.pixels[0, 0].tolist() == list(range(30, 70))
    assert photo.scale.tolist() == [1, 1]
    assert photo.shift.tolist() == [30, 0]


@pytest.mark.parametrize(
    ("form", "modes"),
    [
        ("PNG", "1 L P RGB RGBA"),
        ("GIF", "1 L P"),
        ("TIFF", "1 L P RGB RGBA CMYK"),
        ("JPEG", "L RGB CMYK"),
    ],
)
def test_every_kind_of_file_becomes_rgb(form, modes):
    for mode in modes.split():
        image = Image.new("RGB", (16, 16), (250, 10, 10)).convert(mode)
        photo = read_photo(encoded(image, form), 16, "squash")
        right = np.asarray(image.convert("RGB"), int).transpose(2, 0, 1)
        assert np.abs(photo.pixels - right).max() <= 2, mode
        assert photo.notes == ()


def test_of_an_animation_the_first_picture_is_taken():
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    raw = encoded(first, "GIF", save_all=True, append_images=[second])
    assert read_photo(raw, 8, "squash").pixels.mean((1, 2)).tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1)])
@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_the_thinnest_images_are_images(size, fit):
    photo = read_photo(encoded(Image.new("RGB", size, (10, 20, 30))), 16, fit)
    assert (photo.pixels == np.uint8([[[10]], [[20]], [[30]]])).all()


def test_what_does_not_decode_is_none(monkeypatch):
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (50, 50, 3), dtype=np.uint8)
    whole = encoded(Image.fromarray(colours), "JPEG")
    for raw in (b"", b"no image", whole[: len(whole) // 2], whole[:-20], whole[:20]):
        assert read_photo(raw, 16, "squash") is None
    assert read_photo(whole, 16, "squash") is not None
    monkeypatch.setattr(photos, "MAX_PIXELS", 2499)
    assert read_photo(whole, 16, "squash") is None


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"MM\0*\0\0", b"\xffM\0*\0\0\0\x08\x83\x03", b""])
def test_an_image_with_broken_exif_is_an_image(form, exif):
    raw = encoded(Image.new("RGB", (8, 8)), form, exif=b"Exif\0\0" + exif)
    photo = read_photo(raw, 8, "squash")
    assert (photo.pixels == 0).all()
    assert photo.notes == ()


def test_a_tiff_is_turned_once():
    wide = Image.fromarray(np.repeat(np.uint8([[0] * 8 + [255] * 8]), 8, axis=0))
    tags = ImageFileDirectory_v2()
    tags[0x0112] = 6
    photo = read_photo(encoded(wide, "TIFF", tiffinfo=tags), 8, "crop")
    assert photo.pixels[0, :, 0].tolist() == [0] * 4 + [255] * 4
    assert photo.notes == (TURNED,)


def test_photos_of_an_archive_with_what_was_done_to_them(tmp_path):
    grey = Image.fromarray(RAMP)
    files = {
        "a.png": encoded(grey),
        "b.png": encoded(Image.new("RGBA", (4, 4))),
        "c.png": b"no image",
        "d.png": encoded(grey),
        "not asked for.png": encoded(grey),
    }
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name, raw in files.items():
            archive.writestr(name, raw)
    names = ["d.png", "c.png", "b.png", "a.png"]
    ids, pixels, frames, notes = read_photos(
        tmp_path / "photos.zip", names, 4, "squash"
    )
    assert ids.tolist() == [0, 2, 3]
    assert (pixels[1] == 255).all()
    np.testing.assert_array_equal(pixels[0], pixels[2])
    assert frames[:, 0].tolist() == [[4 / 256] * 2, [1, 1], [4 / 256] * 2]
    assert notes == {"16 bits scaled to 8": 2, ON_WHITE: 1}
