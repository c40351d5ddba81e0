"""Lists of images with labels and objects: every layout, and every bad input."""

import os

import pytest

from benchmark.data import listings
from benchmark.data.download import ParamsError
from benchmark.data.listings import read
from benchmark.data.regions import Box, MaskFile, Polygons, Runs
from tests.helpers.own_images import coco, mask, photo, table, voc


def labels(found):
    return {item.name: item.label for item in found.items}


def objects(found):
    return {item.name: list(item.objects) for item in found.items}


# --------------------------------------------------------------------------------------------- a folder of classes


def test_masks_beside_the_images(tmp_path):
    for name in ("cat/1", "cat/2", "dog/1_mask"):
        photo(tmp_path / f"{name}.jpg")
    for name in ("1_mask", "2_mask", "2_mask_1"):
        mask(tmp_path / "cat" / f"{name}.png")
    found = read(tmp_path)
    assert labels(found) == {
        "cat/1.jpg": "cat",
        "cat/2.jpg": "cat",
        "dog/1_mask.jpg": "dog",  # the mask of no image is an image
    }
    assert list(map(len, objects(found).values())) == [1, 2, 0]
    assert found.annotated


@pytest.mark.parametrize("ending", ["", "_mask"])
def test_a_folder_of_masks(tmp_path, ending):
    for name in ("cat/1", "dog/sub/2", "dog/3"):
        photo(tmp_path / "images" / f"{name}.jpg")
    for name in ("cat/1", "dog/sub/2", "dog/none"):
        mask(tmp_path / "masks" / f"{name}{ending}.png")
    by_itself = read(tmp_path)
    named = read(tmp_path / "images", tmp_path / "masks")
    for found in (by_itself, named):
        assert found.classes == ["cat", "dog"]
        assert [bool(o) for o in objects(found).values()] == [True, False, True]
        assert objects(found)["cat/1.jpg"] == [
            MaskFile(tmp_path / "masks" / "cat" / f"1{ending}.png")
        ]
        assert found.remarks == ["masks that belong to no image: 1 (dog/none)"]


def test_numbers_are_in_the_order_of_their_values(tmp_path):
    for name in ("10", "9", "1"):
        photo(tmp_path / name / "1.png")
    assert read(tmp_path).classes == ["1", "9", "10"]
    assert listings.in_order(["b10", "b9"]) == ["b10", "b9"]


# --------------------------------------------------------------------------------------------- CSV


@pytest.mark.parametrize("columns", ["path,label", "Filename;Class", "image\tcategory"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_csv_of_labels(tmp_path, columns, newline):
    names = ["a, b.png", "c.png"]
    for name in names:
        photo(tmp_path / "sub" / name)
    file = tmp_path / "labels.csv"
    delimiter = next(mark for mark in ",;\t" if mark in columns)
    rows = [columns, *(f'"sub/{n}"{delimiter}{i}' for i, n in enumerate(names))]
    file.write_text("\ufeff" + newline.join(rows) + newline)
    found = read(file)
    assert labels(found) == {"sub/a, b.png": "0", "sub/c.png": "1"}
    assert found.classes == ["0", "1"] and not found.annotated


def test_a_path_of_windows(tmp_path):
    photo(tmp_path / "sub" / "1.png")
    found = read(table(tmp_path / "l.csv", [["sub\\1.png", "cat"]]))
    assert found.items[0].file.is_file()


@pytest.mark.parametrize(
    ("columns", "box"),
    [
        ("x,y,w,h", (2, 1, 6, 4)),
        ("x,y,width,height", (2, 1, 6, 4)),
        ("x0,y0,x1,y1", (2, 1, 8, 5)),
        ("xmin,ymin,xmax,ymax", (2, 1, 8, 5)),
    ],
)
def test_boxes_of_a_csv(tmp_path, columns, box):
    for name in ("1.png", "2.png"):
        photo(tmp_path / name)
    rows = [["1.png", "cat", *box], ["1.png", "cat", *box], ["2.png", "dog", *[""] * 4]]
    found = read(table(tmp_path / "l.csv", rows, f"path,label,{columns}"))
    assert objects(found) == {"1.png": [Box(2, 1, 8, 5)] * 2, "2.png": []}
    assert found.items[0].side is None


def test_the_side_of_the_image_masks_and_splits_of_a_csv(tmp_path):
    for name in "abc":
        photo(tmp_path / f"{name}.png")
    mask(tmp_path / "m.png")
    rows = [
        ["a.png", "cat", 20, 10, 2, 1, 8, 5, "train", ""],
        ["b.png", "cat", 20, 10, "", "", "", "", "val", "m.png"],
        ["c.png", "dog", 20, 10, "", "", "", "", "test", ""],
    ]
    columns = "filename,class,width,height,xmin,ymin,xmax,ymax,split,mask"
    found = read(table(tmp_path / "l.csv", rows, columns))
    assert [item.split for item in found.items] == ["train", "test"]  # val is left out
    assert found.items[0].side == (20, 10)
    rows[2][-2] = "val"
    found = read(table(tmp_path / "l.csv", rows, columns))
    assert [item.split for item in found.items] == ["train", "test", "test"]
    assert found.items[1].objects == (MaskFile(tmp_path / "m.png"),)


@pytest.mark.parametrize(
    ("columns", "row", "words"),
    [
        ("name,label", ["1.png", "cat"], "no column 'path' among name, label"),
        ("path,label", ["1.png", ""], "l.csv, line 2: no label"),
        (
            "path,label",
            ["2.png", "cat"],
            "none of its 1 images is there, for example 2",
        ),
        (
            "path,label,x0,y0",
            ["1.png", "cat", 1, 1],
            "x0, y0, x1, y1; x1, y1 is missing",
        ),
        ("path,label,x,y,w,h", ["1.png", "cat", 1, 1, "", 2], "line 2: .* is no box"),
        ("path,label,x,y,w,h", ["1.png", "cat", 1, 1, "nan", 2], "is not finite"),
        (
            "path,label,x,y,w,h",
            ["1.png", "cat", 0.1, 0.1, 0.4, 0.3],
            "boxes are in pixels",
        ),
        (
            "path,label,split",
            ["1.png", "cat", "dev"],
            "the split is 'dev'; write train",
        ),
        ("path,label,mask", ["1.png", "cat", "m.png"], "there is no mask m.png"),
    ],
)
def test_a_csv_that_cannot_be_used_is_one_line(tmp_path, columns, row, words):
    photo(tmp_path / "1.png")
    with pytest.raises(ParamsError, match=words):
        read(table(tmp_path / "l.csv", [row], columns))


def test_one_label_an_image(tmp_path):
    photo(tmp_path / "1.png")
    rows = [["1.png", "cat"], ["1.png", "dog"]]
    with pytest.raises(ParamsError, match=r"1\.png is labelled cat and dog"):
        read(table(tmp_path / "l.csv", rows))
    rows[1] = rows[0]
    assert len(read(table(tmp_path / "l.csv", rows)).items) == 1


# --------------------------------------------------------------------------------------------- COCO


def test_coco(tmp_path):
    for name in ("1.jpg", "2.jpg", "3.jpg", "4.jpg"):
        photo(tmp_path / "val2017" / name)
    ring = [2, 1, 6, 1, 6, 4, 2, 4]
    crowd = {"counts": [13, 3, 3, 3, 178], "size": [10, 20]}
    annotations = [
        (0, 1, {"bbox": [2, 1, 4, 3], "segmentation": [ring]}),
        (0, 1, {"bbox": [0, 0, 4, 3], "segmentation": crowd, "iscrowd": 1}),
        (0, 3, {"bbox": [0, 0, 2, 2]}),
        (1, 3, {"bbox": [0, 0, 2, 2]}),
        (1, 3, {"bbox": [5, 5, 0, 2]}),
        (4, 3, {"bbox": [0, 0, 2, 2]}),
    ]
    images = [(f"{i}.jpg", 20, 10) for i in (1, 2, 3, 4, 5)]
    categories = ["zebra", "cat", "cow", "ant"]
    file = coco(tmp_path / "annotations" / "i.json", images, annotations, categories)
    found = read(file)
    assert labels(found) == {"1.jpg": "cat", "2.jpg": "ant"}
    assert objects(found) == {
        "1.jpg": [
            Polygons((tuple(map(float, ring)),)),
            Runs((13, 3, 3, 3, 178), (10, 20)),
        ],
        "2.jpg": [Box(0, 0, 2, 2)],
    }
    assert found.items[0].side == (20, 10)
    assert found.classes == ["cat", "ant"] and found.declared == categories  # by id
    text = "\n".join(found.remarks)
    assert "images that are missing, left out: 1 (5.jpg)" in text
    assert "images without annotation, left out: 2 (3.jpg, 4.jpg)" in text
    assert "images that show several classes, labelled by the largest" in text
    assert "images with objects without area, which are left out: 1 (2.jpg)" in text


def test_a_file_that_stands_twice_is_one_image(tmp_path):
    photo(tmp_path / "1.jpg")
    box = {"bbox": [0, 0, 2, 2]}
    images = [("1.jpg", 20, 10), ("1.jpg", 20, 10)]
    found = read(coco(tmp_path / "i.json", images, [(0, 0, box), (1, 0, box)]))
    assert len(found.items) == 1 and len(found.items[0].objects) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[:-4], "is not COCO's JSON"),
        (lambda text: text.replace("categories", "tags"), "is not COCO's JSON"),
        (
            lambda text: text.replace('"category_id": 0', '"category_id": 9'),
            "names category 9",
        ),
        (lambda text: text.replace('"image_id": 0', '"image_id": 9'), "names image 9"),
        (
            lambda text: text.replace('"dog"', '"cat"'),
            "two categories are called 'cat'",
        ),
        (lambda text: text.replace('"1.jpg"', '""'), "image 0 has no file_name"),
        (
            lambda text: text.replace('"1.jpg"', '"x.jpg"'),
            "none of its 1 images is there",
        ),
        (lambda text: text.replace("[0, 0, 2, 2]", "[0, 0, 2]"), "i.json: .* in "),
        (lambda text: text.replace("image_id", "img"), "names image None"),
        (
            lambda text: text.replace('"annotations": [', '"annotations": [5, '),
            "is not COCO",
        ),
    ],
)
def test_a_json_that_cannot_be_used_is_one_line(tmp_path, change, words):
    photo(tmp_path / "1.jpg")
    annotations = [(0, 0, {"bbox": [0, 0, 2, 2]})]
    file = coco(tmp_path / "i.json", [("1.jpg", 20, 10)], annotations)
    file.write_text(change(file.read_text()))
    with pytest.raises(ParamsError, match=words):
        read(file)


# --------------------------------------------------------------------------------------------- Pascal VOC


@pytest.mark.parametrize(
    ("xml", "jpg"),
    [("Annotations", "JPEGImages"), ("", ""), ("annotations/xmls", "images")],
)
def test_voc(tmp_path, xml, jpg):
    for name in ("1", "2"):
        photo(tmp_path / jpg / f"{name}.jpg")
        voc(tmp_path / xml / f"{name}.xml", f"{name}.jpg", [("cat", 1, 1, 20, 10)])
    voc(
        tmp_path / xml / "2.xml",
        "renamed.jpg",
        [("cat", 3, 2, 4, 5), ("cat", 1, 1, 2, 2)],
    )
    found = read(tmp_path)
    boxes = [item.objects for item in found.items]
    assert boxes == [(Box(0, 0, 20, 10),), (Box(2, 1, 4, 5), Box(0, 0, 2, 2))]
    assert [item.side for item in found.items] == [(20, 10)] * 2
    assert found.classes == ["cat"] and found.kind == "Pascal VOC"


def test_the_sets_of_voc(tmp_path):
    for name in "abc":
        photo(tmp_path / "JPEGImages" / f"{name}.jpg")
        voc(
            tmp_path / "Annotations" / f"{name}.xml",
            f"{name}.jpg",
            [("cat", 1, 1, 9, 9)],
        )
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b 1\n\n")
    assert [(i.name, i.split) for i in read(tmp_path).items] == [
        ("a.jpg", "train"),
        ("b.jpg", "test"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotation>", "1.xml is no XML that can be read"),
        ("<a><object><name> </name></object></a>", "an object has no name"),
        ("<a><object><name>cat</name></object></a>", "is no box of four numbers"),
        ("<a></a>", "none of its 1 images is annotated"),
    ],
)
def test_an_xml_that_cannot_be_used_is_one_line(tmp_path, text, words):
    photo(tmp_path / "1.jpg")
    (tmp_path / "1.xml").write_text(text)
    with pytest.raises(ParamsError, match=words):
        read(tmp_path)


# --------------------------------------------------------------------------------------------- all


def test_what_lists_no_images_is_one_line(tmp_path):
    photo(tmp_path / "flat" / "1.jpg")
    (tmp_path / "x.txt").write_text("")
    photo(tmp_path / "a" / "cat" / "1.jpg")
    mask(tmp_path / "m" / "dog" / "1.png")
    for path, masks, words in (
        (tmp_path / "none", None, "is not a folder, and there is no such file"),
        (tmp_path / "x.txt", None, "x.txt lists no images: give a folder of classes"),
        (
            tmp_path / "flat",
            None,
            "holds 1 images and no subfolders; there must be one",
        ),
        (tmp_path / "x.csv", tmp_path, "x.csv is no folder of classes; a CSV names"),
        (tmp_path / "a", tmp_path / "none", "none is not a folder"),
        (tmp_path / "a", tmp_path / "m", "that of cat/1.jpg is m/cat/1.png"),
    ):
        with pytest.raises(ParamsError, match=words):
            read(path, masks)


def test_labels_are_names_or_indices():
    classes = ["cat", "dog", "7"]
    assert [listings.label_index(c, classes, "x") for c in ("dog", "1", "7")] == [
        1,
        1,
        2,
    ]
    with pytest.raises(ParamsError, match="a.png: no class 'dot'; did you mean dog"):
        listings.label_index("dot", classes, "a.png")
    with pytest.raises(ParamsError, match="label 3 is beyond the 3 classes, 0 to 2"):
        listings.label_index("3", classes, "a.png")


def test_the_state_tells_whether_anything_has_changed(tmp_path):
    photo(tmp_path / "cat" / "1.jpg")
    mask(tmp_path / "cat" / "1_mask.png")
    first = listings.state(read(tmp_path))
    assert listings.state(read(tmp_path)) == first
    os.utime(tmp_path / "cat" / "1_mask.png", (1, 1))
    second = listings.state(read(tmp_path))
    photo(tmp_path / "cat" / "2.jpg")
    assert len({first, second, listings.state(read(tmp_path))}) == 3
