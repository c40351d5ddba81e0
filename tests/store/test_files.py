"""Files appear whole or not at all; a damaged one is one line that names it and the way out."""

import errno
import os
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark import store
from benchmark.store import StoreError


def rows(**changes):
    row = {
        "profile": "offline",
        "track": "heatmap",
        "paper": "baseline",
        "dataset": "digits",
        "target": "cnn",
        "method": "A",
        "setting": "layer=3",
        "metric": "average_drop",
        "metric_setting": "keep=0.2",
        "seed": 0,
        "value": 1 / 3,
        "n": 5,
        "better": "lower",
        "unit": "percent",
        "metric_version": 1,
        "status": "ok",
        "reason": "",
    }
    return pd.DataFrame([row | changes])


def test_rows_survive_the_file(tmp_path):
    path = tmp_path / "rows.csv"
    both = pd.concat(
        [
            rows(method='B, or "not"'),
            rows(),
            rows(seed=1, value=np.nan, status="failed", reason='a, b"c'),
        ]
    )
    store.write_rows(path, both)
    read = store.read_rows(path)
    assert list(read.columns) == list(store.ROW_COLUMNS)
    assert read.method.tolist() == ["A", "A", 'B, or "not"']  # sorted by key
    assert read.value.tolist()[0] == 0.3333333  # seven digits
    assert np.isnan(read.value[1]) and read.reason[1] == 'a, b"c'
    store.write_rows(tmp_path / "again.csv", read)
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


def test_one_key_has_one_row():
    with pytest.raises(ValueError, match="two rows"):
        store.tidy_rows(pd.concat([rows(), rows(value=2.0)]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "lost"}, "unknown status 'lost'"),
        ({"track": "maps"}, "unknown track 'maps'"),
    ],
)
def test_rows_that_say_nothing_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        store.tidy_rows(rows(**change))


def test_a_row_that_failed_needs_no_value():
    assert len(store.tidy_rows(rows(value=np.nan, status="failed"))) == 1


def test_scores_survive_the_file(tmp_path):
    table = pd.concat(
        [rows(), rows(metric="gini", status="not applicable", value=np.nan, n=0)]
    )
    values = [np.array([1.0, np.nan, 3.0]), np.empty(0)]
    store.write_scores(
        tmp_path / "s.npz", table, values, ids=[4, 5, 9], keys=["abc", "d"]
    )
    read, got, ids = store.read_scores(tmp_path / "s.npz")
    pd.testing.assert_frame_equal(read, table.reset_index(drop=True))
    np.testing.assert_array_equal(got[0], values[0])
    assert len(got) == 2 and len(got[1]) == 0 and ids.tolist() == [4, 5, 9]
    assert store.read_keyed_scores(tmp_path / "s.npz")[3] == ["abc", "d"]


def test_files_of_scores_are_read_together_as_one_by_one(tmp_path):
    lost = rows(metric="gini", status="not applicable", value=np.nan, n=0)
    tables = [pd.concat([rows(), lost]), rows().iloc[:0], rows(seed=1, value=0.5)]
    values = [[np.array([1.0, np.nan]), np.empty(0)], [], [np.array([3.0])]]
    paths = [tmp_path / f"{i}.npz" for i in range(3)]
    for path, table, of_rows, ids in zip(
        paths, tables, values, ([4, 5], [], [9]), strict=True
    ):
        keys = [""] * len(table)
        store.write_scores(path, table, of_rows, ids=ids, keys=keys)
    read, got, images = store.read_all_scores(paths)
    one_by_one = [store.read_scores(path) for path in paths]
    together = pd.concat([found[0] for found in one_by_one], ignore_index=True)
    pd.testing.assert_frame_equal(read, together, check_dtype=False)
    assert [of_row.tolist() for of_row in images] == [[4, 5], [], [9]]
    written = [of_row for of_rows in values for of_row in of_rows]
    for of_row, expected in zip(got, written, strict=True):
        np.testing.assert_array_equal(of_row, expected)
    nothing, *_ = store.read_all_scores([])
    assert list(nothing) == list(store.ROW_COLUMNS) and not len(nothing)
    paths[1].write_bytes(paths[1].read_bytes()[:-40])
    with pytest.raises(StoreError, match=r"1\.npz is damaged"):
        store.read_all_scores(paths)


def test_settings_are_text_in_a_fixed_order():
    assert (
        store.setting_text({"variant": "authors", "keep": 0.2, "layer": 3})
        == "keep=0.2;layer=3;variant=authors"
    )
    assert store.setting_text({}) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.2, "0.2"),
        (5.0, "5"),
        (1e-7, "1e-07"),
        (1e6, "1e+06"),
        (np.float64(0.1), "0.1"),
        (0.1234567, "0.1234567"),
        (1234567.5, "1234567.5"),
        (float("inf"), "inf"),
        (3, "3"),
        (True, "True"),
        ("a=b", "a=b"),
        ([0.1234567, 2], "[0.1234567, 2]"),
    ],
)
def test_a_setting_is_told_from_every_other(value, text):
    assert store.setting_pairs(store.setting_text({"k": value, "other": 1})) == {
        "k": text,
        "other": "1",
    }
    assert not isinstance(value, float) or float(text) == value


def test_pairs_of_a_setting():
    assert (
        store.setting_pairs("size=a=b;odd;k=2") == {"size": "a=b", "k": "2"}
        and store.setting_pairs("") == {}
    )


def test_nothing_half_written_when_the_disk_is_full(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    store.write_npz(path, {"x": np.arange(3)})
    before = path.read_bytes()

    def full(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.write_npz(path, {"x": np.arange(1000)})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.npz"]  # no temporary file stays


def test_a_read_only_folder_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    refused = pytest.raises(
        StoreError, match="nothing can be written .*Not a directory"
    )
    with refused, store.exclusive(tmp_path / "file" / "folder"):
        pytest.fail("the work has begun")
    with store.exclusive(tmp_path / "folder"):
        assert list((tmp_path / "folder").iterdir()) == []


def test_an_npz_is_the_same_bytes_for_the_same_content(tmp_path):
    for name in ("a.npz", "b.npz"):
        store.write_npz(tmp_path / name, {"y": np.ones(2), "x": np.arange(9)})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_objects_are_never_stored(tmp_path):
    with pytest.raises(ValueError, match="never Python objects"):
        store.write_npz(tmp_path / "a.npz", {"x": np.array([{}], dtype=object)})


def test_pickles_are_never_read(tmp_path):
    np.savez(tmp_path / "evil.npz", x=np.array([{}], dtype=object))
    with pytest.raises(StoreError, match=r"evil\.npz is damaged"):
        store.read_npz(tmp_path / "evil.npz")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a.npz", store.read_npz),
        ("a.safetensors", store.read_weights),
        ("a.json", store.read_json),
        ("a.yaml", store.read_yaml),
        ("a.csv", store.read_rows),
    ],
)
@pytest.mark.parametrize(
    "content", [b"", b"\x00garbage\xff", b"PK\x03\x04 cut", b'{"a": ']
)
def test_a_damaged_file_is_one_line_naming_it(tmp_path, name, read, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(StoreError) as error:
        read(path)
    assert str(path) in str(error.value)
    assert ";" in str(error.value)  # the way out


@pytest.mark.parametrize(
    "read",
    [
        store.read_npz,
        store.read_weights,
        store.read_json,
        store.read_yaml,
        store.read_rows,
    ],
)
def test_a_missing_file_is_one_line(tmp_path, read):
    with pytest.raises(StoreError, match="is missing"):
        read(tmp_path / "none")


@pytest.mark.parametrize(
    ("path", "command"),
    [
        (
            "results/offline/artifacts/targets/digits/cnn-0.safetensors",
            "glassbench train digits",
        ),
        (
            "results/offline/artifacts/targets/digits/cnn-0.json",
            "glassbench train digits",
        ),
        (
            "results/offline/artifacts/explanations/digits/cnn-0/a.npz",
            "glassbench explain digits",
        ),
        (
            "results/offline/artifacts/scores/digits/cnn-0/a.npz",
            "glassbench score digits",
        ),
        (
            "results/offline/artifacts/replications/xnn/a.npz",
            "glassbench replicate xnn",
        ),
        (
            "results/evaluations/offline/Mine/artifacts/scores/digits/cnn-0/a.npz",
            "glassbench evaluate",
        ),
        ("datasets/processed/offline/digits.npz", "glassbench prepare digits"),
        ("results/offline/provenance.json", "dvc repro"),
    ],
)
def test_a_file_that_cannot_be_read_names_the_command_that_makes_it(
    tmp_path, path, command
):
    path = tmp_path / path
    read = {
        ".npz": store.read_npz,
        ".json": store.read_json,
        ".safetensors": store.read_weights,
    }[path.suffix]
    with pytest.raises(StoreError, match=f"is missing; run .*`{command}`"):
        read(path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x00")
    with pytest.raises(StoreError, match=f"is damaged .*; run .*`{command}`"):
        read(path)


def test_an_archive_of_something_else_is_damaged(tmp_path):
    store.write_npz(tmp_path / "a.npz", {"other": np.arange(3)})
    for read in (store.read_scores, store.read_keyed_scores):
        with pytest.raises(StoreError, match=r"a\.npz is damaged \(KeyError"):
            read(tmp_path / "a.npz")


def test_what_is_no_npz_is_named(tmp_path):
    maps = np.zeros((2, 3, 3))
    path = tmp_path / "maps.npz"

    def said(write):
        with open(path, "wb") as file:
            write(file)
        return store.not_npz(path)

    assert said(lambda file: np.savez(file, a=maps)) == ""
    assert said(lambda file: np.savez_compressed(file, a=maps)) == ""
    assert "numpy.save" in said(lambda file: np.save(file, maps))
    assert "a pickle" in said(lambda file: pickle.dump({"a": maps}, file))
    assert "which is no array" in said(lambda file: torch.save({"a": maps}, file))
    objects = np.array([{"a": 1}], dtype=object)
    assert "pickled Python objects" in said(lambda file: np.savez(file, a=objects))
    assert "no npz archive" in said(lambda file: file.write(b"a text"))
    assert "damaged" not in store.not_npz(path)


def test_an_npz_is_whole_until_one_byte_of_an_array_is_another(tmp_path):
    path = tmp_path / "a.npz"
    assert not store.is_whole(path)
    store.write_npz(path, {"x": np.arange(1000.0), "y": np.ones(3)})
    assert store.is_whole(path)
    raw = path.read_bytes()
    middle = len(raw) // 2
    for damaged in (
        b"",
        raw[:middle],
        raw[:middle] + bytes([raw[middle] ^ 255]) + raw[middle + 1 :],
    ):
        path.write_bytes(damaged)
        assert not store.is_whole(path)


def test_weights_survive_the_file(tmp_path):
    state = {"w": torch.arange(6.0).view(2, 3).T, "n": torch.tensor(3)}
    store.write_weights(tmp_path / "w.safetensors", state)
    read = store.read_weights(tmp_path / "w.safetensors")
    assert all(torch.equal(read[k], state[k]) for k in state)


def test_the_hash_of_a_folder_sees_names_and_contents(tmp_path):
    (tmp_path / "a.py").write_text("1")
    first = store.sha256(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("x")
    (tmp_path / ".hidden").write_text("x")
    assert store.sha256(tmp_path) == first
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert store.sha256(tmp_path) != first


def test_values_of_single_images_come_back(tmp_path):
    key = dict.fromkeys(store.ROW_KEYS, "a") | {"seed": 0}
    values = [0.1, np.nan, 3.0]
    frame = pd.DataFrame(
        [
            key | {"seed": seed, "image": i, "value": v}
            for seed in (1, 0)
            for i, v in enumerate(values)
        ]
    )
    store.write_values(tmp_path / "values.npz", frame)
    back = store.read_values(tmp_path / "values.npz")
    assert back.seed.tolist() == [0, 0, 1, 1] and back.image.tolist() == [
        0,
        2,
        0,
        2,
    ]  # what does not apply is left out
    np.testing.assert_allclose(back.value, [0.1, 3, 0.1, 3], rtol=1e-7)
    assert back.method.tolist() == ["a"] * 4
    store.write_values(tmp_path / "none.npz", frame[:0])
    assert len(store.read_values(tmp_path / "none.npz")) == 0
