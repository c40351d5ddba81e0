"""Files from bad servers, formats against literal twins, and the scripts' command line."""

import gzip
import hashlib
import io
import os
import socket
import struct
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark import data, store
from benchmark.data import download
from benchmark.data.download import DownloadError, ParamsError, Source, fetch, main
from benchmark.utils.near_names import UnknownName
from tests.helpers.command import one_line
from tests.helpers.file_server import FileServer
from tests.helpers.places import move_root

BODY = bytes(np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8))
OTHER = b"a subset"


@pytest.fixture
def server():
    with FileServer() as server:
        server.files["birds.tgz"] = BODY
        yield server


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    """No mirror, no proxy; the seconds slept are noted instead."""
    for key in (
        download.MIRROR,
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(key, raising=False)
    slept = []
    monkeypatch.setattr(download.time, "sleep", slept.append)
    return slept


def digest(body, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


def birds(server, **mirror):
    return Source(f"{server.url}/birds.tgz", digest(BODY, "md5"), **mirror)


def visible(folder):
    return sorted(p.name for p in folder.iterdir())


# --------------------------------------------------------------------------------------------- one server


def test_a_file_is_fetched_once(server, tmp_path):
    file = fetch(birds(server), tmp_path)
    assert file.path.read_bytes() == BODY
    assert file.origin == "official"
    assert file.provenance() == {
        "file": "birds.tgz",
        "origin": "official",
        "sha256": hashlib.sha256(BODY).hexdigest(),
    }
    assert visible(tmp_path) == ["birds.tgz"]
    assert fetch(birds(server), tmp_path) == file
    assert server.asked == [("birds.tgz", "")]


def test_a_cut_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.manners["birds.tgz"] = [("cut", 100_000), ("cut", 50_000)]
    assert fetch(birds(server), tmp_path).path.read_bytes() == BODY
    assert [r for _, r in server.asked] == ["", "bytes=100000-", "bytes=150000-"]


def test_a_server_that_ignores_range_starts_over(server, tmp_path):
    server.manners["birds.tgz"] = [("cut", 100_000), "no range"]
    assert fetch(birds(server), tmp_path).path.read_bytes() == BODY
    assert len(server.asked) == 2


def test_a_range_that_was_not_asked_for_starts_over(server, tmp_path):
    server.manners["birds.tgz"] = [("cut", 100_000), "wrong range"]
    assert fetch(birds(server), tmp_path).path.read_bytes() == BODY
    assert [r for _, r in server.asked] == ["", "bytes=100000-", ""]


def test_an_earlier_run_is_resumed(server, tmp_path):
    (tmp_path / ".birds.tgz.part").write_bytes(BODY[:299_999])
    assert fetch(birds(server), tmp_path).path.read_bytes() == BODY
    assert server.asked == [("birds.tgz", "bytes=299999-")]


def test_an_earlier_run_that_had_everything_is_used(server, tmp_path):
    (tmp_path / ".birds.tgz.part").write_bytes(BODY)
    assert fetch(birds(server), tmp_path).path.read_bytes() == BODY
    assert server.asked == [("birds.tgz", "bytes=300000-")]  # answered by 416


def test_a_stale_part_is_found_out_and_replaced(server, tmp_path):
    (tmp_path / ".birds.tgz.part").write_bytes(b"something else")
    assert fetch(birds(server), tmp_path).path.read_bytes() == BODY
    assert [r for _, r in server.asked] == ["bytes=14-", ""]


def test_wrong_bytes_are_fetched_again_but_not_for_ever(server, tmp_path):
    server.manners["birds.tgz"] = ["wrong"]
    assert fetch(birds(server), tmp_path / "once").path.read_bytes() == BODY
    server.manners["birds.tgz"] = ["wrong"] * 9
    with pytest.raises(
        DownloadError, match=f"wrong bytes, {digest(BODY, 'md5')} expected"
    ):
        fetch(birds(server), tmp_path / "always")
    assert visible(tmp_path / "always") == []
    assert len(server.asked) == 2 + download.MAX_WRONG


def test_a_missing_file_is_not_asked_for_twice(server, tmp_path):
    server.manners["birds.tgz"] = [404]
    with pytest.raises(DownloadError, match="HTTP status 404"):
        fetch(birds(server), tmp_path)
    assert len(server.asked) == 1


def test_a_busy_server_is_waited_for(server, tmp_path, surroundings):
    server.manners["birds.tgz"] = [("busy", 0), ("busy", 7), ("busy", 9999)]
    assert fetch(birds(server), tmp_path, backoff=0.5).path.read_bytes() == BODY
    assert surroundings == [0.5, 7.0, download.MAX_WAIT]


def test_attempts_and_waits_are_bounded(server, tmp_path, surroundings):
    server.manners["birds.tgz"] = [500] * 20
    with pytest.raises(DownloadError, match="busy"):
        fetch(birds(server), tmp_path, attempts=9, backoff=1)
    assert surroundings == [1, 2, 4, 8, 16, 30, 30, 30]


def test_progress_earns_new_attempts(server, tmp_path):
    body = BODY * 20  # 6 MB
    server.files["birds.tgz"] = body
    server.manners["birds.tgz"] = [("cut", 1 << 20)] * 5
    source = Source(f"{server.url}/birds.tgz", digest(body))
    assert fetch(source, tmp_path, attempts=2).path.read_bytes() == body


def test_an_encoded_transfer_is_not_unpacked(server, tmp_path):
    packed = gzip.compress(b"labels")
    server.files["labels.gz"], server.manners["labels.gz"] = packed, ["gzip"]
    assert (
        fetch(
            Source(f"{server.url}/labels.gz", digest(packed)), tmp_path
        ).path.read_bytes()
        == packed
    )


def test_two_at_once_download_once(server, tmp_path):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch(birds(server), tmp_path)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(server.asked) == 1


def test_a_damaged_cache_is_named_and_fetched_again(server, tmp_path, capsys):
    (tmp_path / "birds.tgz").write_bytes(BODY[:-1])
    assert fetch(birds(server), tmp_path).path.read_bytes() == BODY
    assert f"{tmp_path / 'birds.tgz'} is damaged" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_line(server, tmp_path):
    (tmp_path / ".birds.tgz.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match="No space left on device; free some space"):
        fetch(birds(server), tmp_path)
    assert len(server.asked) == 1


def test_a_malformed_url_is_not_tried_again(tmp_path, surroundings):
    with pytest.raises(DownloadError):
        fetch(Source("nowhere://host/birds.tgz", digest(BODY)), tmp_path)
    assert surroundings == []


# --------------------------------------------------------------------------------------------- mirrors


def test_a_folder_is_used_in_place_and_may_hold_another_file(server, tmp_path):
    mirror, cache = tmp_path / "mirror", tmp_path / "cache"
    (mirror / "birds").mkdir(parents=True)
    (mirror / "birds" / "few.tar").write_bytes(OTHER)
    source = birds(server, mirror="birds/few.tar", mirror_digest=digest(OTHER))
    file = fetch(source, cache, mirror=str(mirror))
    assert file.path == mirror / "birds" / "few.tar"
    assert file.origin == "mirror"
    assert visible(cache) == []
    assert server.asked == []


def test_the_official_file_from_a_mirror_is_official(server, tmp_path, monkeypatch):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "birds.tgz").write_bytes(BODY)
    monkeypatch.setenv(download.MIRROR, str(tmp_path / "mirror"))
    here = fetch(birds(server), tmp_path / "a")
    monkeypatch.delenv(download.MIRROR)
    there = fetch(birds(server), tmp_path / "b")
    assert here.path.parent == tmp_path / "mirror"
    assert (
        here.provenance() == there.provenance()
    )  # so that the card does not depend on the way


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_a_mirror_without_the_file_leaves_the_official_url(server, tmp_path, content):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    if content:
        (mirror / "birds.tgz").write_bytes(content)
    assert (
        fetch(birds(server), tmp_path / "cache", mirror=str(mirror)).path
        == tmp_path / "cache" / "birds.tgz"
    )
    assert (
        not content or (mirror / "birds.tgz").read_bytes() == content
    )  # the mirror is not ours to clean


def test_a_mirror_may_be_a_url(server, tmp_path):
    server.files["all/birds/few.tar"] = OTHER
    source = birds(server, mirror="birds/few.tar", mirror_digest=digest(OTHER))
    file = fetch(source, tmp_path, mirror=f"{server.url}/all/")
    assert (file.origin, file.path.name) == ("mirror", "few.tar")
    assert fetch(source, tmp_path) == file  # from the cache, though no mirror is named
    assert [path for path, _ in server.asked] == ["all/birds/few.tar"]
    fetch(source, tmp_path / "b", mirror=f"{server.url}/nothing/")
    assert [path for path, _ in server.asked][1:] == [
        "nothing/birds/few.tar",
        "birds.tgz",
    ]


def test_the_official_file_in_the_cache_goes_before_a_mirror(server, tmp_path):
    server.files["few.tar"] = OTHER
    source = birds(server, mirror="few.tar", mirror_digest=digest(OTHER))
    fetch(source, tmp_path)
    (tmp_path / "few.tar").write_bytes(OTHER)
    assert fetch(source, tmp_path, mirror=server.url).origin == "official"
    assert len(server.asked) == 1


def test_no_way_is_one_line_that_names_both_ways_out(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/birds.tgz"
    source = Source(
        url, digest(BODY), mirror="birds/few.tar", mirror_digest=digest(OTHER)
    )
    with pytest.raises(DownloadError) as error:
        fetch(source, tmp_path / "cache", mirror=str(tmp_path))
    text = str(error.value)
    assert "\n" not in text
    for part in (
        f"{tmp_path / 'birds/few.tar'}: no such file",
        "no connection",
        "set GLASSBENCH_MIRROR",
        "birds/few.tar",
        url,
    ):
        assert part in text


def test_other_bytes_need_another_name():
    with pytest.raises(ValueError, match="another name"):
        Source(
            "https://host/birds.tgz",
            digest(BODY),
            mirror="birds/birds.tgz",
            mirror_digest=digest(OTHER),
        )


# --------------------------------------------------------------------------------------------- formats


def test_idx_by_hand():
    raw = b"\0\0\x08\x03" + struct.pack(">3i", 2, 1, 2) + bytes([1, 2, 3, 4])
    assert download.read_idx(raw).tolist() == [[[1, 2]], [[3, 4]]]
    for bad in (raw[:-1], raw + b"x", raw[:9], b"", b"\0\0\x0d" + raw[3:]):
        with pytest.raises(DownloadError, match="idx"):
            download.read_idx(bad)


@pytest.mark.parametrize("size", [28, 32, 20, 7])
def test_nearest_against_torch(size):
    x = np.random.default_rng(0).integers(0, 256, (3, 2, 28, 28), dtype=np.uint8)
    ours = download.nearest(x, size)
    assert np.array_equal(
        ours,
        torch.nn.functional.interpolate(
            torch.from_numpy(x).double(), size=size
        ).numpy(),
    )
    for i in range(size):
        assert (ours[:, :, i, 0] == x[:, :, i * 28 // size, 0]).all()


def encoded(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_pages_by_hand():
    x = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
    page = np.zeros((64, 1600, 3), np.uint8)
    for i, image in enumerate(x):  # 50 images a row
        r, c = divmod(i, 50)
        page[32 * r : 32 * r + 32, 32 * c : 32 * c + 32] = image
    found = download.read_pages(
        [encoded(page[:32]), encoded(page[32:])], hashlib.sha256(x).hexdigest()
    )
    assert np.array_equal(found, x.transpose(0, 3, 1, 2))
    with pytest.raises(DownloadError, match="other pixels"):
        download.read_pages([encoded(page)], hashlib.sha256(x[1:]).hexdigest())


# --------------------------------------------------------------------------------------------- the scripts' frame

DEFAULTS = {"size": 8, "fit": "squash", "train": None}


def params_file(folder, text):
    (folder / "params.yaml").write_text(text)
    return folder / "params.yaml"


def test_params_complete_the_defaults(tmp_path):
    def read(text):
        return download.read_params(params_file(tmp_path, text), "birds", DEFAULTS)

    assert read("profile: quick\ndata: {birds: {size: 9, train: 5}}") == (
        "quick",
        {"size": 9, "fit": "squash", "train": 5},
    )
    assert read("data: {other: {size: 9}}") == ("offline", DEFAULTS)
    assert read("data: {birds: }") == ("offline", DEFAULTS)
    assert download.read_params(tmp_path / "none.yaml", "birds", DEFAULTS) == (
        "offline",
        DEFAULTS,
    )
    with pytest.raises(store.StoreError, match="missing"):
        download.read_params(tmp_path / "none.yaml", "birds", DEFAULTS, required=True)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("{sise: 3}", "did you mean size"),
        ("{size: null}", "positive integer$"),
        ("{size: 0}", "positive integer"),
        ("{size: true}", "positive integer"),
        ("{size: 1.5}", "positive integer"),
        ("{train: all}", "positive integer or null"),
        ("{fit: 3}", "expected text"),
        ("[size]", "expected a mapping"),
    ],
)
def test_bad_params_are_refused(tmp_path, section, says):
    with pytest.raises((ParamsError, UnknownName), match=says):
        download.read_params(
            params_file(tmp_path, f"data: {{birds: {section}}}"), "birds", DEFAULTS
        )


def test_a_choice_is_checked():
    assert download.choose({"fit": "crop"}, "fit", "squash", "crop") == "crop"
    with pytest.raises(UnknownName, match="squash"):
        download.choose({"fit": "sqash"}, "fit", "squash", "crop")


def test_a_subset_is_balanced_nested_and_repeatable():
    y = np.repeat([0, 1, 2], [50, 30, 20])
    small, large = (download.subset("birds", "train", y, n) for n in (12, 31))
    assert np.bincount(y[small]).tolist() == [4, 4, 4]
    assert np.ptp(np.bincount(y[large])) == 1
    assert set(small) < set(large)
    assert (np.diff(large) > 0).all()
    assert np.array_equal(large, download.subset("birds", "train", y, 31))
    assert not np.array_equal(large, download.subset("birds", "test", y, 31))
    assert download.subset("birds", "train", y, None).tolist() == list(range(100))
    with pytest.raises(ParamsError, match="101 asks for more images than the 100"):
        download.subset("birds", "train", y, 101)


class Command:
    """``main`` of a script that makes birds of a size, and counts how often it is asked."""

    def __init__(self, folder):
        self.folder, self.out, self.calls = folder, folder / "birds.npz", 0

    def prepare(self, params, folder):
        self.calls += 1
        if params["size"] == 13:
            raise DownloadError("no network")
        if params["size"] == 14:
            raise KeyboardInterrupt
        x, y = (
            np.zeros((2, 1, params["size"], params["size"]), np.uint8),
            np.array([0, 1]),
        )
        arrays = {"x_train": x, "y_train": y, "x_test": x[:1], "y_test": y[:1]}
        return arrays | {"classes": ["a", "b"]}, {"title": "Birds"}

    def __call__(self, size, *more):
        params = params_file(self.folder, f"data: {{birds: {{size: {size}}}}}")
        options = ["--params", str(params), "--out", str(self.out), *more]
        return main("birds", self.prepare, DEFAULTS, "Birds.", options)


@pytest.fixture
def command(tmp_path):
    return Command(tmp_path)


def test_main_writes_a_data_set_with_its_card(command, capsys):
    assert command(8) == 0
    assert (
        capsys.readouterr().out
        == f"birds: 2 + 1 images (1, 8, 8), 2 classes: {command.out}\n"
    )
    assert data.load(command.out).card == {
        "name": "birds",
        "title": "Birds",
        "counts": {"train": 2, "test": 1},
        "size": 8,
        "classes": 2,
        "without_test_image": ["b"],
        "params": {"size": 8, "fit": "squash", "train": None},
    }


def test_main_prepares_again_only_what_has_changed(command):
    assert (command(8), command.calls) == (0, 1)
    assert (command(8), command.calls) == (0, 1)  # it is there
    assert (command(8, "--force"), command.calls) == (0, 2)
    assert (command(9), command.calls) == (0, 3)
    command.out.write_bytes(b"damaged")
    assert (command(9), command.calls) == (0, 4)
    command.out.with_suffix(".key").write_text(
        "the hash of a script that was changed since"
    )
    assert (command(9), command.calls) == (0, 5)
    assert (command(9), command.calls) == (0, 5)


def test_main_that_fails_leaves_the_data_set_as_it_was(command, capsys):
    assert command(9) == 0
    before = command.out.read_bytes()
    capsys.readouterr()
    assert command(13) == 2
    assert capsys.readouterr().err == "birds: no network\n"
    assert command(14) == 130
    assert command("big") == 2
    assert "positive integer" in capsys.readouterr().err
    assert command.out.read_bytes() == before


def test_main_prepares_nothing_where_nothing_may_be_written(command, capsys):
    (command.folder / "file").touch()
    command.out = command.folder / "file" / "birds.npz"
    assert (command(8), command.calls) == (2, 0)
    assert f"birds: nothing can be written to {command.folder / 'file'}" in one_line(
        capsys
    )


def test_main_reads_data_that_are_there_where_nothing_may_be_written(
    command, monkeypatch
):
    assert command(8) == 0
    monkeypatch.setattr(store, "write_text", refuse)
    monkeypatch.setattr(store, "check_writable", refuse)
    assert (command(8), command.calls) == (0, 1)


def test_rights_that_go_while_main_is_at_work_are_one_line(
    command, capsys, monkeypatch
):
    monkeypatch.setattr(data, "save", refuse)
    assert command(8) == 2
    assert "birds: Permission denied (birds.npz)" in one_line(capsys)


def refuse(*_):
    raise PermissionError(13, "Permission denied", "birds.npz")


def test_main_refuses_an_unknown_option(command):
    with pytest.raises(SystemExit) as error:
        command(8, "--nonsense")
    assert error.value.code == 2


def test_main_writes_to_the_profile(tmp_path, monkeypatch):
    move_root(monkeypatch, tmp_path)
    monkeypatch.setattr(store.Paths.__init__, "__defaults__", (tmp_path,))
    folders = []

    def prepare(params, folder):
        folders.append(folder)
        x, y = np.zeros((1, 1, 8, 8), np.uint8), np.array([0])
        return {
            "x_train": x,
            "y_train": y,
            "x_test": x,
            "y_test": y,
            "classes": ["a"],
        }, {}

    params_file(tmp_path, "profile: quick")
    assert main("birds", prepare, DEFAULTS, "Birds.", []) == 0
    assert main("birds", prepare, DEFAULTS, "Birds.", ["--profile", "paper"]) == 0
    assert (tmp_path / "datasets/processed/quick/birds.npz").exists()
    assert (tmp_path / "datasets/processed/paper/birds.npz").exists()
    assert folders == [tmp_path / "datasets/raw/birds"] * 2
