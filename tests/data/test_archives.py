"""Archives that climb, lie, blow up or are cut: one line each, and nothing lands anywhere."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.data import archives
from benchmark.data.archives import DownloadError, member_names, members

NOISE = bytes(np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8))


def tar_of(path, *entries, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                archive.addfile(info)
    return path


def zip_of(path, *entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            if isinstance(content, tuple):
                info.external_attr, content = 0o120777 << 16, content[1]
            archive.writestr(info, content)
    return path


ENTRIES = [("a/x.txt", b"one"), ("a/y.txt", b"two")]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_tar_is_read_in_order(tmp_path, mode):
    path = tar_of(
        tmp_path / "a.tar", *ENTRIES, ("a/link", (tarfile.SYMTYPE, "x.txt")), mode=mode
    )
    assert (
        list(members(path)) == ENTRIES
    )  # a link within the archive does no harm; it is no file
    assert list(members(path, lambda name: name.endswith("y.txt"))) == ENTRIES[1:]
    assert member_names(path) == ["a/x.txt", "a/y.txt"]


def test_a_zip_is_read_in_order(tmp_path):
    path = zip_of(tmp_path / "a.zip", ("a/", b""), *ENTRIES)
    assert list(members(path)) == ENTRIES
    assert member_names(path) == ["a/x.txt", "a/y.txt"]


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path):
    inner = zip_of(tmp_path / "a.zip", *ENTRIES).read_bytes()
    assert list(members(tar_of(tmp_path / "a.tar", ("a.zip", inner)))) == [
        ("a.zip", inner)
    ]


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/x", "..", "c:/x", "a\\..\\..\\x"]
)
@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_a_member_that_climbs_is_refused(tmp_path, pack, name):
    path = pack(tmp_path / "archive", ENTRIES[0], (name, b"evil"))
    with pytest.raises(DownloadError, match="climbs out"):
        list(members(path))
    with pytest.raises(DownloadError, match="climbs out"):
        list(members(path, lambda name: name == "a/x.txt"))  # even if it is not wanted


@pytest.mark.parametrize(
    "kind",
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.SYMTYPE, "../../x"),
        (tarfile.LNKTYPE, "../x"),
        (tarfile.CHRTYPE, ""),
    ],
)
def test_a_tar_with_a_link_out_or_a_device_is_refused(tmp_path, kind):
    with pytest.raises(DownloadError, match="unsafe"):
        list(members(tar_of(tmp_path / "a.tar", ("a/x", kind))))


def test_a_zip_with_a_link_is_refused(tmp_path):
    with pytest.raises(DownloadError, match="is a link"):
        list(members(zip_of(tmp_path / "a.zip", ("a/x", ("link", "/etc/passwd")))))


@pytest.mark.parametrize("pack", [tar_of, zip_of])
@pytest.mark.parametrize(
    "limit", [("MAX_MEMBERS", 1), ("MAX_MEMBER_BYTES", 2), ("MAX_BYTES", 5)]
)
def test_a_bomb_is_refused(tmp_path, monkeypatch, pack, limit):
    path = pack(tmp_path / "archive", *ENTRIES)
    monkeypatch.setattr(archives, *limit)
    with pytest.raises(DownloadError, match="too large"):
        list(members(path))


def test_a_damaged_archive_is_one_line(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"no archive")
    whole = tar_of(tmp_path / "b.tgz", ("a", NOISE), mode="w:gz").read_bytes()
    (tmp_path / "b.tgz").write_bytes(whole[: len(whole) // 2])
    for name in ("a.tar", "b.tgz"):
        with pytest.raises(DownloadError, match="damaged"):
            list(members(tmp_path / name))


@pytest.mark.parametrize("pack", [tar_of, zip_of])
@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb"])
def test_a_name_with_control_characters_is_refused(tmp_path, pack, name):
    with pytest.raises(DownloadError, match="control characters"):
        list(members(pack(tmp_path / "archive", (name, b"x"))))


@pytest.mark.parametrize(
    "kind", [0o120777, 0o020666, 0o060666, 0o010666, 0o140666]
)  # link, devices, pipe, socket
def test_a_zip_holds_files_and_folders_only(tmp_path, kind):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("a/x")
        info.external_attr = kind << 16
        archive.writestr(info, b"/etc/passwd")
    with pytest.raises(DownloadError, match="link or device"):
        list(members(tmp_path / "a.zip"))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_tar_with_a_device_or_pipe_is_refused(tmp_path, kind):
    with pytest.raises(DownloadError, match="unsafe"):
        list(members(tar_of(tmp_path / "a.tar", ("a/x", (kind, "")))))


def test_zeros_that_unpack_to_far_more_than_the_archive_are_refused(
    tmp_path, monkeypatch
):
    """A megabyte a member, a few kilobytes in all: both kinds are refused before a hundredfold is unpacked."""
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    zeros = [(f"a/{i}", bytes(1 << 20)) for i in range(8)]
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in zeros:
            archive.writestr(name, content)
    tar_of(tmp_path / "a.tgz", *zeros, mode="w:gz")
    for name in ("a.zip", "a.tgz"):
        read = []
        with pytest.raises(DownloadError, match="too large at the member"):
            read.extend(members(tmp_path / name))
        assert len(read) < 8
        assert (tmp_path / name).stat().st_size * archives.MAX_RATIO < 8 << 20


def test_an_archive_of_ordinary_text_is_no_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FREE_BYTES", 0)
    lines = b"\n".join(
        b"%d images/%05d.jpg" % (i, i * 7919 % 99991) for i in range(20_000)
    )
    assert list(
        members(tar_of(tmp_path / "a.tgz", ("list.txt", lines), mode="w:gz"))
    ) == [("list.txt", lines)]


def test_a_zip_that_lies_about_a_members_size_gives_no_more_than_it_says(tmp_path):
    """The directory says 10 bytes, the stream holds a megabyte: refused, and no megabyte is unpacked."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(1 << 20))
    raw = path.read_bytes()
    path.write_bytes(raw.replace(struct.pack("<I", 1 << 20), struct.pack("<I", 10)))
    with pytest.raises(DownloadError, match="damaged"):
        list(members(path))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tars_own_headers_are_bounded_too(tmp_path, monkeypatch, kind):
    """A header that asks for gigabytes is refused before they are read."""
    info = tarfile.TarInfo("a")
    info.type, info.size = kind, 1 << 32
    (tmp_path / "a.tar").write_bytes(info.tobuf() + bytes(1 << 10))
    with pytest.raises(DownloadError, match=r"a header of \d+ bytes"):
        list(members(tmp_path / "a.tar"))


def read_while_possible(path):
    """(Members until the first error, the error's message or None)."""
    read = []
    try:
        for member in members(path):
            read.append(member)
    except DownloadError as error:
        return read, str(error)
    return read, None


@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress, lambda raw: raw]
)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_spoilt_archive_gives_what_was_packed_or_one_line(
    tmp_path_factory, pack, kind
):
    """Any byte changed, any end cut off: the content, a part of it before an error, or a
    DownloadError; nothing else."""
    path = tmp_path_factory.mktemp("spoilt") / "archive"
    entries = [*ENTRIES, ("a/noise", NOISE[:300])]
    raw = (tar_of if kind == "tar" else zip_of)(path, *entries).read_bytes()
    raw = pack(raw) if kind == "tar" else raw

    @given(st.integers(0, len(raw) - 1), st.integers(0, 255), st.integers(1, len(raw)))
    def spoil(at, byte, end):
        path.write_bytes((raw[:at] + bytes([byte]) + raw[at + 1 :])[:end])
        read, error = read_while_possible(path)
        assert all(".." not in name and "\n" not in name for name, _ in read)
        assert all(len(content) < 1 << 20 for _, content in read)
        assert error is None or ("\n" not in error and str(path) in error)

    spoil()


def test_a_missing_archive_is_no_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(members(tmp_path / "none.tar"))
