"""What the scripts in ``datasets/`` share: getting a file, reading it, and the command line around both.

Idea.   A data set is one npz made by one script from files that are known by their hash. A file comes from the cache
        (``datasets/raw/<name>/``), else from the mirror (``GLASSBENCH_MIRROR``: a folder, used in place, or a base URL),
        else from its official URL. Where it came from does not matter, its bytes do: nothing is used before its hash
        is checked. A mirror may hold another file than the official one, e.g. a subset: it has its own name and hash.
Use.    SOURCE = Source("https://host/birds.tgz", "md5:97ec...", mirror="birds/first50.tar", mirror_digest="sha256:e33d...")
        file = fetch(SOURCE, folder)            # file.path, file.origin: "official" or "mirror"
        for name, data in members(file.path): ...
        if __name__ == "__main__":
            sys.exit(main("birds", prepare, {"size": 224}, __doc__))
Theory. An interrupted transfer stays as ``.<name>.part`` and goes on with HTTP Range (RFC 9110, section 14); a server
        that ignores Range starts anew. Archives are read, never unpacked (``archives``).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import inspect
import io
import json
import os
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import requests
import urllib3
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from benchmark import data, store
from benchmark.data.archives import DownloadError, member_names, members  # noqa: F401  (the scripts ask here)
from benchmark.store.code_hash import Code
from benchmark.utils.near_names import UnknownName, near, pick

MIRROR = "GLASSBENCH_MIRROR"
TIMEOUT = (10, 60)  # seconds to connect, seconds without a byte
MAX_WAIT = 30.0  # seconds between two attempts
MAX_WRONG = 2  # transfers that end with wrong bytes
MAX_PIXELS = 50_000_000  # of one image


class ParamsError(Exception):
    """Parameters that a data set does not know or cannot meet."""


# --------------------------------------------------------------------------------------------- files


@dataclass(frozen=True)
class Source:
    """A file by its official URL and hash (``md5:...`` or ``sha256:...``), and what a mirror holds in its place.

    ``mirror`` is a path below the mirror's root (default: the official name). Without ``mirror_digest`` the mirror's
    file is the official one.
    """

    url: str
    digest: str
    mirror: str = ""
    mirror_digest: str = ""

    def __post_init__(self) -> None:
        if self.mirror_digest and self.mirror_name == self.name:
            raise ValueError(f"{self.name}: a mirror's file with other bytes needs another name")

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]

    @property
    def mirror_path(self) -> str:
        return self.mirror or self.name

    @property
    def mirror_name(self) -> str:
        return self.mirror_path.rsplit("/", 1)[-1] if self.mirror_digest else self.name


@dataclass(frozen=True)
class Fetched:
    """A file whose hash has been checked. ``origin`` is "official" if its bytes are the official ones, wherever they
    came from, else "mirror"."""

    path: Path
    origin: str

    def provenance(self) -> dict[str, str]:
        """For the data card: file name, origin and sha256; the same on every machine."""
        return {
            "file": self.path.name,
            "origin": self.origin,
            "sha256": file_hash(self.path, "sha256"),
        }


def file_hash(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _matches(path: Path, digest: str) -> bool:
    algorithm, _, value = digest.partition(":")
    return file_hash(path, algorithm) == value


def fetch(
    source: Source,
    folder: Path,
    *,
    mirror: str | None = None,
    attempts: int = 4,
    backoff: float = 0.5,
) -> Fetched:
    """The file from the cache ``folder``, the mirror (default: ``GLASSBENCH_MIRROR``) or the official URL, in this order.

    Args:
        attempts: failures in a row, without progress of a megabyte between them, before a URL is given up.
        backoff: seconds before the first repetition; doubled with each, up to 30.

    Raises:
        DownloadError: no way led to the right bytes.
    """
    mirror = mirror or os.environ.get(MIRROR) or ""
    ours = Fetched(folder / source.name, "official")
    theirs = Fetched(folder / source.mirror_name, "mirror" if source.mirror_digest else "official")
    digests = {theirs.path: source.mirror_digest or source.digest, ours.path: source.digest}

    def cached(remove: bool) -> Fetched | None:
        for file in (ours, theirs):
            if file.path.exists():
                if _matches(file.path, digests[file.path]):
                    return file
                if remove:
                    say(f"{file.path} is damaged ({digests[file.path]} expected); removed")
                    file.path.unlink()
        return None

    if file := cached(remove=False):
        return file
    with store.exclusive(folder, wait=True):
        if file := cached(remove=True):
            return file
        problems = []
        if mirror and "://" not in mirror:
            path = Path(mirror).expanduser() / source.mirror_path
            if path.is_file() and _matches(path, digests[theirs.path]):
                return Fetched(path, theirs.origin)
            problems.append(
                f"{path}: "
                + (
                    f"wrong bytes, {digests[theirs.path]} expected"
                    if path.is_file()
                    else "no such file"
                )
            )
        ways = [("official URL", source.url, ours)]
        if "://" in mirror:
            ways.insert(0, ("mirror", f"{mirror.rstrip('/')}/{source.mirror_path}", theirs))
        for way, url, file in ways:
            try:
                _download(url, file.path, digests[file.path], attempts, backoff)
                return file
            except DownloadError as error:
                problems.append(f"{way}: {error}")
    raise DownloadError(
        f"cannot get {source.name} ({'; '.join(problems)}): set {MIRROR} to a folder or base URL that holds "
        f"{source.mirror_path}, or connect to {source.url}"
    )


class _Busy(Exception):
    """The server asks to come again later: after args[0] seconds, if that is not 0."""


def _download(url: str, path: Path, digest: str, attempts: int, backoff: float) -> None:
    """``url`` to ``path``, which appears only with the right bytes."""
    part = path.with_name(f".{path.name}.part")
    failures = wrong = 0
    while True:
        start, wait = _size(part), 0.0
        try:
            _transfer(url, part, start)
        except _Busy as error:
            problem, wait = "the server is busy", error.args[0]
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            if isinstance(error, ValueError):  # a malformed URL does not get better
                raise DownloadError(str(error)) from None
            problem = (
                f"no connection ({type(error).__name__})"
                if _size(part) == start
                else "the connection was cut"
            )
        except OSError as error:
            raise DownloadError(
                f"{part}: {error.strerror or error}; make room and run again"
            ) from None
        else:
            if _matches(part, digest):
                with open(part, "rb") as file:
                    os.fsync(file.fileno())
                os.replace(part, path)
                return
            part.unlink()
            problem, wrong = f"wrong bytes, {digest} expected", wrong + 1
        failures = 1 if _size(part) - start >= 1 << 20 else failures + 1
        if failures >= attempts or wrong >= MAX_WRONG:
            raise DownloadError(problem)
        say(f"{url}: {problem}; trying again")
        time.sleep(min(max(wait, backoff * 2 ** (failures - 1)), MAX_WAIT))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _transfer(url: str, part: Path, start: int) -> None:
    """Append to ``part`` what it lacks after its ``start`` bytes."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "glassbench"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as reply:
        status = reply.status_code
        if start and status == 416:  # nothing beyond what is here: the hash decides
            return
        if status in (408, 425, 429) or status >= 500:
            after = reply.headers.get("Retry-After", "")
            raise _Busy(float(after) if after.isdecimal() else 0.0)
        if status not in (200, 206):
            raise DownloadError(f"HTTP status {status}")
        resumed = status == 206
        if resumed and not reply.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            raise requests.RequestException("a range that was not asked for")
        rest = int(reply.headers.get("Content-Length", 0)) or None
        done = start if resumed else 0
        with (
            open(part, "ab" if resumed else "wb") as file,
            _progress(url, done, rest and done + rest) as advance,
        ):
            for block in reply.raw.stream(1 << 18, decode_content=False):
                file.write(block)
                advance(len(block))


@contextmanager
def _progress(url: str, done: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, one line elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        say(f"downloading {url}" + (f" ({total / 1e6:.1f} MB)" if total else ""))
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(url.rsplit("/", 1)[1], total=total, completed=done)
        yield lambda n: bar.advance(task, n)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --------------------------------------------------------------------------------------------- formats


def read_idx(raw: bytes) -> np.ndarray:
    """The uint8 array of an idx file (unpacked): magic 0, 0, 8, rank; the axes as big-endian int32; the values."""
    rank = raw[3] if raw[:3] == b"\0\0\x08" else 0
    shape = tuple(np.frombuffer(raw, ">i4", rank, 4)) if rank and len(raw) >= 4 + 4 * rank else ()
    if not rank or len(raw) != 4 + 4 * rank + np.prod(shape):
        raise DownloadError("an idx file that is damaged; delete it and run again")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_idx_splits(
    name: str,
    base: str,
    files: Mapping[str, Sequence[tuple[str, str]]],
    params: Mapping[str, Any],
    folder: Path,
) -> tuple[dict[str, np.ndarray], list[dict[str, str]]]:
    """The arrays of a data set of gzipped idx files, as MNIST's, and the provenance of the files.

    Args:
        name: of the data set, and the mirror's folder that holds the files.
        base: URL of the folder that holds the official files.
        files: split -> (file name, hash) of its images (N, h, w) and of its labels (N,).
        params: ``size`` in pixels, and how many images of each split.
    """
    arrays, provenance = {}, []
    for split, pair in files.items():
        values = []
        for file_name, digest in pair:
            source = Source(f"{base}/{file_name}", digest, mirror=f"{name}/{file_name}")
            file = fetch(source, folder)
            values.append(read_idx(gzip.decompress(file.path.read_bytes())))
            provenance.append(file.provenance())
        x, y = values
        ids = subset(name, split, y, params[split])
        arrays[f"x_{split}"] = nearest(x[ids, None], params["size"])
        arrays[f"y_{split}"] = y[ids].astype(np.int64)
    return arrays, provenance


def read_pages(pages: list[bytes], sha256: str) -> np.ndarray:
    """(N, 3, 32, 32) uint8 from lossless WebP pages, 50 images a row; ``sha256`` is that of the NHWC array."""
    x = np.concatenate(
        [
            np.asarray(Image.open(io.BytesIO(page)).convert("RGB"))
            .reshape(-1, 32, 50, 32, 3)  # (rows, 32, 50, 32, 3)
            .transpose(0, 2, 1, 3, 4)
            .reshape(-1, 32, 32, 3)
            for page in pages
        ]
    )
    if hashlib.sha256(np.ascontiguousarray(x)).hexdigest() != sha256:
        raise DownloadError("WebP pages that decode to other pixels than those that were packed")
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def nearest(x: np.ndarray, size: int) -> np.ndarray:
    """(N, c, h, w) -> (N, c, size, size): pixel i is the old pixel floor(i h / size), as ``F.interpolate``'s default."""
    rows, columns = (np.arange(size) * side // size for side in x.shape[2:])
    return (
        x if x.shape[2:] == (size, size) else np.ascontiguousarray(x[:, :, rows][:, :, :, columns])
    )


@dataclass(frozen=True)
class Photo:
    """A decoded image as a square, and the map of its coordinates: new = old * scale - shift, for x and y."""

    pixels: np.ndarray  # (3, size, size) uint8
    scale: np.ndarray  # (2,) float64
    shift: np.ndarray  # (2,) float64, in pixels of the square


def read_photo(raw: bytes, size: int, fit: str) -> Photo | None:
    """An encoded image as RGB; None if it does not decode.

    ``fit="squash"`` scales both sides to ``size``; ``"crop"`` scales the shorter side to it and keeps the centre.
    Bilinear with antialiasing (the filter's support grows with the reduction).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # broken EXIF
            image = Image.open(io.BytesIO(raw))
            if image.width * image.height > MAX_PIXELS:
                return None
            image = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, EOFError, zlib.error, Image.DecompressionBombError):
        return None
    old = np.array(image.size, np.float64)  # w, h
    side = old if fit == "squash" else np.full(2, old.min())
    box = (old - side) / 2  # the left and upper corner of what is kept
    pixels = np.asarray(
        image.resize((size, size), Image.Resampling.BILINEAR, box=(*box, *(box + side)))
    )  # (size, size, 3)
    return Photo(np.ascontiguousarray(pixels.transpose(2, 0, 1)), size / side, box * size / side)


def read_photos(
    path: Path, names: Sequence[str], size: int, fit: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The images ``names`` of an archive: those that are there and decode, in the order of ``names``.

    Returns:
        ids (n,): which of ``names``; pixels (n, 3, size, size) uint8; frames (n, 2, 2) float64: scale and shift.
    """
    row = {name: i for i, name in enumerate(names)}
    found = np.zeros(len(names), bool)
    pixels = np.zeros((len(names), 3, size, size), np.uint8)
    frames = np.zeros((len(names), 2, 2))
    for name, raw in members(path, row.__contains__):
        if photo := read_photo(raw, size, fit):
            i = row[name]
            found[i], pixels[i], frames[i] = True, photo.pixels, (photo.scale, photo.shift)
    return np.flatnonzero(found), pixels if found.all() else pixels[found], frames[found]


# --------------------------------------------------------------------------------------------- the scripts' frame

Prepare = Callable[[dict[str, Any], Path], tuple[dict[str, np.ndarray], dict[str, Any]]]


def main(
    name: str,
    prepare: Prepare,
    defaults: Mapping[str, Any],
    doc: str,
    argv: list[str] | None = None,
) -> int:
    """Run a script: read its parameters, ``prepare(params, downloads folder) -> arrays, card``, save, print one line.

    Returns:
        0; 2 for bad use or no data; 130 when stopped by Ctrl-C.
    """
    epilog = f"parameters: data.{name} in params.yaml; defaults: {json.dumps(dict(defaults))}"
    parser = argparse.ArgumentParser(description=doc.splitlines()[0], epilog=epilog)
    parser.add_argument(
        "--profile",
        help="whose folder the npz goes to (default: that of params.yaml, else offline)",
    )
    parser.add_argument("--out", type=Path, help="where the npz goes instead")
    parser.add_argument("--params", type=Path, help="another params.yaml than the project's")
    parser.add_argument("--raw", type=Path, help="the folder of downloads (default: datasets/raw)")
    parser.add_argument(
        "--force",
        action="store_true",
        help="make it again even if it is there with these parameters",
    )
    args = parser.parse_args(argv)
    try:
        file = args.params or store.ROOT / "params.yaml"
        profile, params = read_params(file, name, defaults, required=bool(args.params))
        paths = store.Paths(args.profile or profile)
        out = args.out or paths.data(name)
        key = _key(prepare)
        if args.force or not _is_made(out, params, key):
            arrays, card = prepare(params, (args.raw or paths.downloads) / name)
            data.save(out, arrays, {"name": name, "params": params, **_counts(arrays), **card})
        store.write_text(_key_file(out), key)
        made = data.load(out, name)
    except (DownloadError, ParamsError, UnknownName, store.StoreError) as error:
        say(f"{name}: {error}")
        return 2
    except KeyboardInterrupt:
        say(f"{name}: stopped; run again to go on")
        return 130
    counts = f"{made.size('train')} + {made.size('test')} images {made.input_shape}, {len(made.classes)} classes"
    print(f"{name}: {counts}: {out}")
    return 0


def _counts(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {
        "counts": {split: len(arrays[f"y_{split}"]) for split in data.SPLITS},
        "size": arrays["x_train"].shape[2],
        "classes": len(arrays["classes"]),
    }


def _is_made(out: Path, params: Mapping[str, Any], key: str) -> bool:
    """Is the data set there, made with these parameters and, as far as is known, by this code?"""
    file = _key_file(out)
    try:
        return data.load(out).card.get("params") == params and (
            not file.exists() or file.read_text() == key
        )
    except store.StoreError:
        return False


def _key(prepare: Prepare) -> str:
    """The hash of the script that prepares, with what it calls."""
    root, script = (
        Path(__file__).resolve().parent.parent.parent,
        Path(inspect.getsourcefile(prepare)).resolve(),
    )
    return Code(root).hash(
        [str(script.relative_to(root) if script.is_relative_to(root) else script)]
    )


def _key_file(out: Path) -> Path:
    """Beside the data set, so that the data set's own bytes say nothing of the code."""
    return out.with_suffix(".key")


def read_params(
    path: Path, name: str, defaults: Mapping[str, Any], required: bool = False
) -> tuple[str, dict[str, Any]]:
    """The profile and the parameters ``data.<name>`` of a params.yaml, completed by the defaults.

    Raises:
        UnknownName, ParamsError: an unknown key; a value of another kind than the default's (None stands for a number).
    """
    values = store.read_yaml(path) if required or path.exists() else {}
    section = (values.get("data") or {}).get(name) or {}
    check_params(section, defaults, f"{path}: data.{name}")
    return str(values.get("profile", "offline")), {**defaults, **section}


def check_params(section: Any, defaults: Mapping[str, Any], where: str) -> None:
    """Check the parameters of a data set against its defaults.

    Raises:
        UnknownName, ParamsError: an unknown key; a value of another kind than the default's (None stands for a number).
    """
    if not isinstance(section, dict):
        raise ParamsError(f"{where} is {section!r}; expected a mapping")
    for key, value in section.items():
        default = pick(key, defaults, f"parameter in {where}:")
        if isinstance(default, str):
            fine, kind = isinstance(value, str), "text"
        else:
            fine = (type(value) is int and value > 0) or (value is None and default is None)
            kind = "a positive integer" + " or null" * (default is None)
        if not fine:
            raise ParamsError(f"{where}.{key} is {value!r}; expected {kind}")


def choose(params: Mapping[str, Any], key: str, *choices: str) -> str:
    """The value of a parameter that is one of ``choices``."""
    if params[key] not in choices:
        raise near(params[key], choices, key)
    return params[key]


def subset(name: str, split: str, y: np.ndarray, n: int | None, first: bool = False) -> np.ndarray:
    """Sorted indices of n of the images with labels y (None: all): the first n, or n drawn with equal classes by the
    seed of the name; a smaller n gives a part of a larger one's.

    Raises:
        ParamsError: there are fewer than n.
    """
    if n is not None and n > len(y):
        raise ParamsError(
            f"{split}: {n} asks for more images than the {len(y)} there are; a mirror may hold a subset: "
            f"unset {MIRROR} and empty datasets/raw/{name} for the official files"
        )
    if n is None or first:
        return np.arange(len(y))[:n]
    return data.Dataset(name, {f"y_{split}": y}).sample(split, n, "subset")
