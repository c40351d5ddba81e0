"""What the tests of faults share: a checkout of its own, commands killed at random moments, and
what must be so after each of them."""

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import weakref
from pathlib import Path

import yaml

from benchmark import store
from benchmark.store import recovery
from benchmark.utils import temporary
from tests.helpers.places import ROOT

SMALL = {  # every stage, few cells
    "profile": "offline",
    "datasets": ["digits"],
    "papers": ["explainn"],
    "data": {"digits": {"size": 16}},
    "zoo": {
        "digits": {
            "cnn": {
                "net": "cnn",
                "options": {"maps": [8, 8, 8, 8]},
                "epochs": 2,
                "batch": 64,
                "lr": 0.004,
                "seeds": [0, 1],
            }
        }
    },
    "explain": {
        "images": 12,
        "reference": 64,
        "methods": [
            "baselines/grad_cam.py:GradCAM",
            "baselines/random_map.py:RandomMap",
            "benchmark/papers/layer_trees/method.py:LayerTree",
        ],
    },
    "replicate": {"explainn": [{"experiment": "worked_example"}]},
}
METHOD = """
from benchmark.api import Explanation


class Mine:
    name = "Gradient norm"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        x = batch.x.clone().requires_grad_()
        target(x).amax(dim=1).sum().backward()
        return Explanation(heatmaps=x.grad.abs().sum(dim=1))
"""


class Project:
    """A checkout of the last commit in ``folder``, with git, DVC and a profile (None: as it is
    shipped); its commands run its own code. The committed results of the profile ``offline`` lie
    apart (``committed``)."""

    def __init__(self, folder, params=SMALL):
        self.root = folder / "project"
        self.root.mkdir()
        archive = subprocess.run(
            ["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(self.root, filter="data")
        self.committed = store.Paths("offline", folder / "committed")
        shutil.copytree(self.root / "results" / "offline", self.committed.results)
        for name in ("results/offline", "results/quick", "tests"):
            shutil.rmtree(self.root / name, ignore_errors=True)
        if params:
            (self.root / "params.yaml").write_text(
                yaml.safe_dump(params, sort_keys=False)
            )
            (self.root / "dvc.lock").unlink(missing_ok=True)
        else:  # as after a run of another profile
            lock = yaml.safe_load((self.root / "dvc.lock").read_text())
            lock["stages"] |= {
                name.replace("@offline", "@other"): stage
                for name, stage in lock["stages"].items()
            }
            (self.root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
        self.lock = (
            (self.root / "dvc.lock").read_bytes()
            if (self.root / "dvc.lock").exists()
            else None
        )
        (self.root / "mine.py").write_text(METHOD)
        self.params = params or store.read_yaml(self.root / "params.yaml")
        self.profile = self.params["profile"]
        self.paths = store.Paths(self.profile, self.root)
        self.home = folder
        self.tmp = Path(
            tempfile.mkdtemp(prefix=temporary.scratch(), dir="/tmp")
        )  # short, for sockets
        weakref.finalize(self, shutil.rmtree, self.tmp, ignore_errors=True)
        self.whole = {}  # files that were whole, with their state then
        (folder / "bin").mkdir()
        (folder / "bin" / "glassbench").write_text(
            f'#!/bin/sh\nexec {sys.executable} -m benchmark "$@"\n'
        )
        (folder / "bin" / "glassbench").chmod(0o755)
        self.mark = f"GLASSBENCH_MARK={folder}"
        binaries = Path(sys.executable).parent
        self.environment = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{binaries}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.root),
            "OMP_NUM_THREADS": "1",
            "MPLBACKEND": "Agg",
            "TMPDIR": str(self.tmp),
            "GLASSBENCH_DEVICE": "cpu",
            "GLASSBENCH_ROOT": str(self.root),
            "GLASSBENCH_MARK": str(folder),
            "TORCHINDUCTOR_CACHE_DIR": str(folder / "site"),
            "DVC_SITE_CACHE_DIR": str(folder / "site"),
            "DVC_NO_ANALYTICS": "1",
        }
        for command in (
            ["git", "init", "-q"],
            ["git", "add", "-A"],
            [
                "git",
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@b",
                "commit",
                "-qm",
                "as it is",
            ],
        ):
            subprocess.run(command, cwd=self.root, check=True)

    def start(self, *command):
        """The process, the first of a group of its own."""
        with open(self.home / "log.txt", "wb") as log:
            return subprocess.Popen(
                command,
                cwd=self.root,
                env=self.environment,
                start_new_session=True,
                stdout=log,
                stderr=log,
            )

    def run(self, *command, timeout=600, **environment):
        """The finished process, with what it printed."""
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def leaderboard(self):
        """``make leaderboard``, with this Python's packages instead of a virtual environment of its own."""
        return [
            "make",
            "-s",
            "-o",
            ".venv/.for-use",
            "leaderboard",
            f"PROFILE={self.profile}",
        ]

    def kill(self, command, moment):
        """Start a command and kill its whole group: (exit code, None where it was killed; the
        stage; seconds into the stage).

        Args:
            moment: called with "" at the start and with the stage (``train``) whenever one
                begins; says after how many seconds there the kill comes, unless another stage
                begins before.
        """
        process, stage = self.start(*command), None
        while process.poll() is None:
            if (now := self.stage()) != stage:
                stage, begin = now, time.monotonic()
                due = begin + moment(stage)
            if time.monotonic() >= due:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return None, stage, time.monotonic() - begin
            time.sleep(0.02)
        return process.returncode, stage, 0.0

    def said(self):
        """What the last command that was started has printed."""
        return (self.home / "log.txt").read_text(errors="replace")

    def stage(self):
        """What DVC runs, or ran last: ``prepare digits``, ``train``; empty before the first stage."""
        commands = re.findall(
            r"^> glassbench (\w+(?: \w+)?)", self.said(), re.MULTILINE
        )
        return commands[-1] if commands else ""

    def orphans(self, patience=10.0):
        """Processes of this project that outlive the group, given a moment to notice."""
        end = time.monotonic() + patience
        while (left := list(self.alive())) and time.monotonic() < end:
            time.sleep(0.05)
        return left

    def alive(self):
        """(number, command) of this project's processes."""
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                mine = self.mark.encode() in (folder / "environ").read_bytes().split(
                    b"\0"
                )
                if mine and "\nState:\tZ" not in (folder / "status").read_text():
                    yield (
                        folder.name,
                        (folder / "cmdline").read_bytes().replace(b"\0", b" ")[:100],
                    )

    def temporary(self):
        """Files with temporary names, and folders for temporary files, that are still there."""
        places = [self.root, self.root / ".dvc" / "cache"]
        found = {p for place in places for p in place.rglob("*.tmp")}
        return sorted(map(str, found | set(self.tmp.iterdir())))

    def rows(self):
        return rows(self.paths.rows)

    def check_files(self):
        """Every file under its final name is whole; one that has not changed since it was is not read again."""
        for path in [
            *(self.root / "results").rglob("*"),
            *(self.root / "datasets" / "processed").rglob("*"),
        ]:
            if not path.is_file() or path.name.endswith(".tmp"):
                continue
            about = path.stat()
            if self.whole.get(path) == (
                state := (about.st_ino, about.st_mtime_ns, about.st_size)
            ):
                continue
            read = READERS.get(path.name) or READERS.get(path.suffix)
            if read:
                read(path)
            self.whole[path] = state

    def reset(self, networks=False):
        """As a fresh clone; ``networks``: trained ones stay."""
        kept = self.home / "kept"
        if networks:
            shutil.move(self.paths.artifacts / "targets", kept)
        for path in (
            self.paths.results,
            self.root / "datasets" / "processed",
            self.root / "results" / "evaluations",
            self.root / ".dvc" / "cache",
            self.root / ".dvc" / "tmp",
            self.home / "site",
        ):
            shutil.rmtree(path, ignore_errors=True)
        (self.root / "dvc.lock").unlink(missing_ok=True)
        if self.lock is not None:
            (self.root / "dvc.lock").write_bytes(self.lock)
        if networks:
            self.paths.artifacts.mkdir(parents=True)
            shutil.move(kept, self.paths.artifacts / "targets")

    def others(self):
        """What the lock file says of the stages of other profiles."""
        lock = self.root / "dvc.lock"
        stages = (
            yaml.load(lock.read_text(), yaml.CSafeLoader)["stages"]
            if lock.exists()
            else {}
        )
        return {
            name: stage
            for name, stage in stages.items()
            if self.profile not in name.split("@")[-1].split("-")
        }

    def locks(self):
        """Locks that are still there: DVC's, and the copy of its lock file."""
        kept = self.root / ".dvc" / "tmp" / recovery.KEPT
        return [
            *filter(None, [recovery._running(self.root)]),
            *(recovery._holders(self.root) or []),
            *([str(kept)] if kept.exists() else []),
        ]


def rows(path):
    """The rows of a file, as text."""
    return store.rows_text(store.read_rows(path))


def ends_in(mark):
    """A reader of files whose last bytes hold ``mark``."""

    def read(path):
        assert mark in path.read_bytes().rstrip()[-12:], path

    return read


READERS = {  # by the name of a file or its suffix; each fails on a file that is not whole
    "rows.csv": store.read_rows,
    ".npz": store.read_npz,
    ".safetensors": store.read_weights,
    ".json": store.read_json,
    ".html": ends_in(b"</html>"),
    ".svg": ends_in(b"</svg>"),
    ".png": ends_in(b"IEND"),
}


def spoil(path, how):
    raw = path.read_bytes()
    middle = len(raw) // 2
    flipped = raw[:middle] + bytes([raw[middle] ^ 0xFF]) + raw[middle + 1 :]
    path.write_bytes(
        {
            "empty": b"",
            "cut": raw[:middle],
            "flipped": flipped,
            "text": b"no such thing\n",
        }[how]
    )


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)
