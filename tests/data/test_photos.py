"""Photographs: depth, orientation and transparency come out as a viewer would show them."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from benchmark.data import photos
from benchmark.data.photos import NOT_TURNED, ON_WHITE, TURNED, read_photo, to_rgb

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
