"""What the scripts in ``datasets/`` share: download a file, read it, and the command line around both.

Idea.   A data set is one npz, made by one script from files with known hashes. A file comes from the cache
        (``datasets/raw/<name>/``), else from the mirror (``GLASSBENCH_MIRROR``: a folder, used in place, or a base
        URL), else from its official URL. Its hash is checked before it is used, wherever it comes from. A mirror may
        hold another file than the official one, e.g. a subset: that has a name and a hash of its own.
Use.    SOURCE = Source("https://host/birds.tgz", "md5:97ec...", mirror="birds/first50.tar",
mirror_digest="sha256:e33d...")
        file = fetch(SOURCE, folder)            # file.path, file.origin: "official" or "mirror"
        for name, data in members(file.path): ...
        if __name__ == "__main__":
            sys.exit(main("birds", prepare, {"size": 224}, __doc__))
Theory. An interrupted transfer stays as ``.<name>.part`` and is resumed by HTTP Range (RFC 9110, section 14); a server
        that ignores Range sends the whole file. Archives are read, never unpacked (``archives``).
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
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TransferSpeedColumn,
)

from benchmark import data, store
from benchmark.data.archives import DownloadError, member_names, members  # noqa: F401  (for the scripts)
from benchmark.data.photos import MAX_PIXELS
from benchmark.store.code_hash import Code
from benchmark.utils.near_names import UnknownName, near, pick

MIRROR = "GLASSBENCH_MIRROR"
TIMEOUT = (10, 60)  # seconds to connect, seconds without a byte
MAX_WAIT = 30.0  # seconds between two attempts
MAX_WRONG = 2  # transfers with wrong bytes before a URL is given up


class ParamsError(Exception):
    """Parameters that a data set does not have, or values that it does not allow."""


# --------------------------------------------------------------------------------------------- files


@dataclass(frozen=True)
class Source:
    """A file by its official URL and hash (``md5:...`` or ``sha256:...``), and what a mirror holds in its place.

    Attributes:
        mirror: the path below the root of the mirror (default: the official name).
        mirror_digest: the hash of the mirror's file; empty if it is the official file.
    """

    url: str
    digest: str
    mirror: str = ""
    mirror_digest: str = ""

    def __post_init__(self) -> None:
        if self.mirror_digest and self.mirror_name == self.name:
            raise ValueError(
                f"{self.name}: a mirror's file with another hash needs another name"
            )

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]

    @property
    def mirror_path(self) -> str:
        return self.mirror or self.name

    @property
    def mirror_name(self) -> str:
        if not self.mirror_digest:
            return self.name
        return self.mirror_path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Fetched:
    """A file whose hash has been checked.

    Attributes:
        origin: "official" if its bytes are the official ones, wherever they came from, else "mirror".
    """

    path: Path
    origin: str

    def provenance(self) -> dict[str, str]:
        """File name, origin and sha256 for the data card; the same on every machine."""
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
    """Get a file from the cache ``folder``, the mirror (default: ``GLASSBENCH_MIRROR``) or the official URL, in turn.

    Args:
        attempts: failures in a row, without a megabyte of progress between them, before a URL is given up.
        backoff: seconds before the second attempt; doubled with each further one, up to 30.

    Raises:
        DownloadError: none of them gave the right bytes.
    """
    mirror = mirror or os.environ.get(MIRROR) or ""
    official = _Wanted(folder / source.name, "official", source.digest)
    mirrored = official
    if source.mirror_digest:
        mirrored = _Wanted(folder / source.mirror_name, "mirror", source.mirror_digest)
    ways = [("official URL", source.url, official)]
    if "://" in mirror:
        ways.insert(
            0, ("mirror", f"{mirror.rstrip('/')}/{source.mirror_path}", mirrored)
        )

    found = _cached((official, mirrored), remove=False)
    if found:
        return found
    problems = []
    with store.exclusive(folder, wait=True):
        found = _cached(
            (official, mirrored), remove=True
        )  # another process may have fetched it
        if found:
            return found
        if mirror and "://" not in mirror:
            path = Path(mirror).expanduser() / source.mirror_path
            if not path.is_file():
                problems.append(f"{path}: no such file")
            elif not _matches(path, mirrored.digest):
                problems.append(f"{path}: wrong bytes, {mirrored.digest} expected")
            else:
                return Fetched(path, mirrored.origin)
        for way, url, file in ways:
            try:
                _download(url, file.path, file.digest, attempts, backoff)
                return file.fetched()
            except DownloadError as error:
                problems.append(f"{way}: {error}")
    raise DownloadError(
        f"cannot get {source.name} ({'; '.join(problems)}): set {MIRROR} to a folder or base URL that holds "
        f"{source.mirror_path}, or connect to {source.url}"
    )


@dataclass(frozen=True)
class _Wanted:
    """A file that may be in the cache, and its hash."""

    path: Path
    origin: str
    digest: str

    def fetched(self) -> Fetched:
        return Fetched(self.path, self.origin)


def _cached(files: Sequence[_Wanted], *, remove: bool) -> Fetched | None:
    """The first of the files that is there with the right bytes; ``remove`` damaged ones."""
    for file in files:
        if file.path.exists():
            if _matches(file.path, file.digest):
                return file.fetched()
            if remove:
                say(f"{file.path} is damaged ({file.digest} expected); removed")
                file.path.unlink()
    return None


class _Busy(Exception):
    """The server asks to try again after args[0] seconds; 0: it does not tell when."""


def _download(url: str, path: Path, digest: str, attempts: int, backoff: float) -> None:
    """Download ``url`` to ``path``, which appears only with the right bytes."""
    part = path.with_name(f".{path.name}.part")
    failures = wrong = 0
    while True:
        start, wait = _size(part), 0.0
        try:
            _transfer(url, part, start)
        except _Busy as error:
            problem, wait = "the server is busy", error.args[0]
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            if isinstance(error, ValueError):  # a malformed URL stays malformed
                raise DownloadError(str(error)) from None
            problem = "the connection was cut"
            if _size(part) == start:
                problem = f"no connection ({type(error).__name__})"
        except OSError as error:
            raise DownloadError(
                f"{part}: {error.strerror or error}; free some space and run again"
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
    """Append to ``part``, which has ``start`` bytes, what is missing."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "glassbench"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as reply:
        status = reply.status_code
        if (
            start and status == 416
        ):  # there is no more than what is here: the hash decides
            return
        if status in (408, 425, 429) or status >= 500:
            after = reply.headers.get("Retry-After", "")
            raise _Busy(float(after) if after.isdecimal() else 0.0)
        if status not in (200, 206):
            raise DownloadError(f"HTTP status {status}")
        resumed = status == 206
        if resumed and not reply.headers.get("Content-Range", "").startswith(
            f"bytes {start}-"
        ):
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
def _progress(
    url: str, done: int, total: int | None
) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, one line elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        size = f" ({total / 1e6:.1f} MB)" if total else ""
        say(f"downloading {url}{size}")
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    ]
    name = url.rsplit("/", 1)[1]
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=total, completed=done)
        yield lambda n: bar.advance(task, n)


def say(text: str) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr, flush=True)


# --------------------------------------------------------------------------------------------- formats


def read_idx(raw: bytes) -> np.ndarray:
    """The uint8 array of an idx file (unpacked): magic 0, 0, 8, rank; the axes as big-endian int32; the values."""
    shape = _idx_shape(raw)
    start = 4 + 4 * len(shape)
    if not shape or len(raw) != start + np.prod(shape):
        raise DownloadError("an idx file is damaged; delete it and run again")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _idx_shape(raw: bytes) -> tuple[int, ...]:
    """The shape in the header of an idx file; empty if the header is damaged."""
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        return ()
    rank = raw[3]
    if len(raw) < 4 + 4 * rank:
        return ()
    return tuple(np.frombuffer(raw, ">i4", rank, 4))


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
    """(N, 3, 32, 32) uint8 from lossless WebP pages with 50 images in a row; ``sha256`` is that of the NHWC array."""
    images = []
    for page in pages:
        pixels = np.asarray(Image.open(io.BytesIO(page)).convert("RGB"))
        rows = pixels.reshape(-1, 32, 50, 32, 3).transpose(
            0, 2, 1, 3, 4
        )  # (rows, 50, 32, 32, 3)
        images.append(rows.reshape(-1, 32, 32, 3))
    x = np.concatenate(images)
    if hashlib.sha256(np.ascontiguousarray(x)).hexdigest() != sha256:
        raise DownloadError(
            "WebP pages decode to other pixels than those that were packed"
        )
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def nearest(x: np.ndarray, size: int) -> np.ndarray:
    """(N, c, h, w) -> (N, c, size, size): pixel i is the old pixel floor(i h / size), as in ``F.interpolate``."""
    h, w = x.shape[2:]
    if (h, w) == (size, size):
        return x
    rows = np.arange(size) * h // size
    columns = np.arange(size) * w // size
    return np.ascontiguousarray(x[:, :, rows][:, :, :, columns])


# --------------------------------------------------------------------------------------------- the command line

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
    parser.add_argument(
        "--params", type=Path, help="another params.yaml than the project's"
    )
    parser.add_argument(
        "--raw", type=Path, help="the folder of downloads (default: datasets/raw)"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="prepare it again even if it is there with these parameters",
    )
    args = parser.parse_args(argv)
    try:
        file = args.params or store.ROOT / "params.yaml"
        profile, params = read_params(file, name, defaults, required=bool(args.params))
        paths = store.Paths(args.profile or profile)
        out = args.out or paths.data(name)
        key = _key(prepare)
        if args.force or not _is_made(out, params, key):
            store.check_writable(out.parent)
            arrays, card = prepare(params, (args.raw or paths.downloads) / name)
            data.save(
                out, arrays, {"name": name, "params": params, **_counts(arrays), **card}
            )
        if not _has_key(out, key):
            store.write_text(_key_file(out), key)
        made = data.load(out, name)
    except (DownloadError, ParamsError, UnknownName, store.StoreError) as error:
        say(f"{name}: {error}")
        return 2
    except OSError as error:
        where = error.filename or "no file"
        say(
            f"{name}: {error.strerror or error} ({where}); make room or repair the path, and run again"
        )
        return 2
    except KeyboardInterrupt:
        say(f"{name}: stopped; run again to go on")
        return 130
    _say_what_to_know(name, made.card)
    images = f"{made.size('train')} + {made.size('test')} images {made.input_shape}"
    print(f"{name}: {images}, {len(made.classes)} classes: {out}")
    return 0


def _say_what_to_know(name: str, card: Mapping[str, Any]) -> None:
    """Print what was done to files, which were skipped, and which classes cannot be tested."""
    for what, count in card.get("converted", {}).items():
        noun = "file" if count == 1 else "files"
        say(f"{name}: {count} {noun}: {what}")
    if skipped := card.get("skipped_files"):
        why = f"no image, damaged, cut short, or above {MAX_PIXELS // 10**6} million pixels"
        say(f"{name}: {len(skipped)} skipped ({why}): {_first(name, skipped)}")
    if untested := card.get("without_test_image"):
        say(f"{name}: no test image of {_first(name, untested)}")


def _first(name: str, values: Sequence[str], shown: int = 5) -> str:
    """The first of some names, and how many more there are."""
    text = ", ".join(values[:shown])
    more = len(values) - shown
    if more > 0:
        text += f", and {more} more (glassbench list datasets {name})"
    return text


def _counts(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    counts = {
        "counts": {split: len(arrays[f"y_{split}"]) for split in data.SPLITS},
        "size": arrays["x_train"].shape[2],
        "classes": len(arrays["classes"]),
    }
    tested = np.unique(arrays["y_test"])
    untested = np.delete(arrays["classes"], tested)
    if len(untested):
        counts["without_test_image"] = untested.tolist()
    return counts


def _is_made(out: Path, params: Mapping[str, Any], key: str) -> bool:
    """Whether the data set is there, made with these parameters and, as far as is known, by this code."""
    try:
        same_params = data.load(out).card.get("params") == params
    except store.StoreError:
        return False
    return same_params and (not _key_file(out).exists() or _has_key(out, key))


def _key(prepare: Prepare) -> str:
    """The hash of the script that prepares, with everything that it calls."""
    root = Path(__file__).resolve().parent.parent.parent
    script = Path(inspect.getsourcefile(prepare)).resolve()
    if script.is_relative_to(root):
        script = script.relative_to(root)
    return Code(root).hash([str(script)])


def _has_key(out: Path, key: str) -> bool:
    file = _key_file(out)
    return file.exists() and file.read_text() == key


def _key_file(out: Path) -> Path:
    """The file beside the data set with the hash of the code, on which the bytes of the data set do not depend."""
    return out.with_suffix(".key")


def read_params(
    path: Path, name: str, defaults: Mapping[str, Any], required: bool = False
) -> tuple[str, dict[str, Any]]:
    """The profile, and the parameters ``data.<name>`` of a params.yaml, completed by the defaults.

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
            valid, kind = isinstance(value, str), "text"
        elif default is None:
            valid, kind = (
                value is None or _is_positive(value),
                "a positive integer or null",
            )
        else:
            valid, kind = _is_positive(value), "a positive integer"
        if not valid:
            raise ParamsError(f"{where}.{key} is {value!r}; expected {kind}")


def _is_positive(value: Any) -> bool:
    return type(value) is int and value > 0  # True is an int, too


def choose(params: Mapping[str, Any], key: str, *choices: str) -> str:
    """The value of a parameter that is one of ``choices``."""
    if params[key] not in choices:
        raise near(params[key], choices, key)
    return params[key]


def subset(name: str, split: str, y: np.ndarray, n: int | None) -> np.ndarray:
    """Sorted indices of n of the images with labels y (None: all).

    They are drawn by the seed of the name, with equal numbers per class; a smaller n gives a subset of those of a
    larger n.

    Raises:
        ParamsError: there are fewer than n.
    """
    if n is not None and n > len(y):
        raise ParamsError(
            f"{split}: {n} asks for more images than the {len(y)} there are; a mirror may hold a subset: "
            f"unset {MIRROR} and empty datasets/raw/{name} for the official files"
        )
    if n is None:
        return np.arange(len(y))
    return data.Dataset(name, {f"y_{split}": y}).sample(split, n, "subset")
