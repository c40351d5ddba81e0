"""A process of its own for code that is not ours: bounded in time, memory and words, and kept out of our files.

    call = Call(function, arguments, Limits(seconds=60))
    while not call.ended(wait(call.channels, call.left())):
        pass
    call.result, call.error

The process starts from the fork server, so that it holds torch and no state of ours. It may write into its working
directory, a temporary folder, and into the user's cache; Landlock (Linux 5.13 and later)
keeps even C code to that, an audit hook says in which line Python code tried, and refuses a fork. What it leaves running
is killed with it. This contains mistakes, not malice: a file that you would not run at all should not be run here either.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from benchmark.utils.temporary import scratch

_START = 120.0  # seconds that a process may take until it is ready to work
_LEAVE = 10.0  # seconds that it has to end once its answer is there
_TAIL = 400  # characters of what it printed that are kept


@dataclass(frozen=True)
class Limits:
    """What a call may take: wall time, memory beyond what the process starts with, words."""

    seconds: float = 900.0
    gigabytes: float = 8.0
    printed: int = 2**20  # bytes


@contextlib.contextmanager
def _no_interrupt() -> Iterator[None]:
    """Ctrl-C waits until the block ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Call:
    """``function(*arguments)`` under way in a process of its own; its result travels as JSON.

    Attributes:
        result, error: one of them, once ``ended``; ``error`` is one line.
        printed: the end of what it printed.
    """

    def __init__(
        self,
        context: BaseContext,
        function: Callable[..., Any],
        arguments: Sequence[Any],
        limits: Limits,
        folder: Path | None = None,
    ) -> None:
        self.limits, self.result, self.error, self.printed = limits, None, None, ""
        self._folder, self._kept = (
            str(folder or tempfile.mkdtemp(prefix=scratch())),
            folder is not None,
        )
        self._answer, answer = context.Pipe(duplex=False)
        self._words, words = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_main, args=(function, arguments, limits, answer, words, self._folder)
        )
        with (
            _no_interrupt()
        ):  # a child whose parent stops half-way through its start dies with a traceback
            self._process.start()
        answer.close()
        words.close()
        self._open: list[Connection] = [self._words, self._answer]
        self._deadline, self._count, self._answered = time.monotonic() + _START, 0, False

    @property
    def channels(self) -> list[Any]:
        """What to wait for."""
        return [*self._open, self._process.sentinel]

    def left(self) -> float:
        """Seconds until the time limit."""
        return max(0.0, self._deadline - time.monotonic())

    def ended(self, ready: Iterable[Any]) -> bool:
        """Take what is ready; True once the call is over and its process gone."""
        if self._words in ready:
            self._read_words()
        elif self._answer in ready:
            self._read_answer()
        elif self._process.sentinel in ready:
            if not self._answered:
                self.error = _death(self._process.exitcode, self.limits)
            return self._end()
        if self._count > self.limits.printed:
            self.result, self.error = None, f"printed more than {self.limits.printed / 2**20:g} MB"
            return self._end()
        if self.left() == 0:
            if not self._answered:
                self.error = (
                    f"took longer than the {self.limits.seconds:g} seconds that it may take"
                )
            return self._end()
        return False

    def _read_words(self) -> None:
        block = os.read(self._words.fileno(), 2**16)
        self._count += len(block)
        self.printed = (self.printed + block.decode(errors="replace"))[-_TAIL:]
        if not block:
            self._open.remove(self._words)

    def _read_answer(self) -> None:
        try:
            text = self._answer.recv_bytes()
        except (EOFError, OSError):
            self._open.remove(self._answer)
            return
        if text:
            self.result, self.error = json.loads(text)
            self._answered = True
            if self.error and ("MemoryError" in self.error or "allocate memory" in self.error):
                self.error += f"; it may use {self.limits.gigabytes:g} GB"
        self._deadline = time.monotonic() + (
            _LEAVE if text else self.limits.seconds
        )  # without text: it is ready

    def _end(self) -> bool:
        self.kill()
        return True

    def kill(self) -> None:
        """End the process and all that it started; a folder that was not given is removed."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._words.close()
        self._answer.close()
        if not self._kept:
            shutil.rmtree(self._folder, ignore_errors=True)


def _death(code: int | None, limits: Limits) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        memory = (
            f" (out of memory? it may use {limits.gigabytes:g} GB)"
            if name in ("SIGKILL", "SIGABRT")
            else ""
        )
        return f"its process was killed by {name}{memory}"
    return f"its process ended without a result (exit code {code})"


# --------------------------------------------------------------------------------------------- inside


def _main(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    limits: Limits,
    answer: Connection,
    words: Connection,
    folder: str,
) -> None:
    os.setsid()  # a group of its own, killed as one
    for stream in (1, 2):
        os.dup2(words.fileno(), stream)
    words.close()
    os.chdir(folder)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    sys.dont_write_bytecode = True
    die_with_parent()
    _limit_memory(limits.gigabytes)
    _watch(_writable(folder))
    _landlock(_writable(folder))
    answer.send_bytes(b"")
    try:
        text = json.dumps([function(*arguments), None])
    except SystemExit as stop:
        text = json.dumps([None, f"called sys.exit({stop.code!r})"])
    except BaseException as failure:  # worded where it happened
        text = json.dumps([None, str(failure) or type(failure).__name__])
    sys.stdout.flush()
    sys.stderr.flush()
    answer.send_bytes(text.encode())
    os._exit(0)  # nothing that it left behind, a thread or an exit handler, runs on


def _writable(folder: str) -> list[str]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [os.path.realpath(p) for p in (folder, cache, "/dev", "/proc") if os.path.isdir(p)]


def die_with_parent() -> None:
    """From now on the kernel kills this process when the one that asked for it dies, however that comes. A fork server in
    between lives as long as its children do, so its death (PR_SET_PDEATHSIG) would never come."""
    parent = multiprocessing.parent_process()
    if sys.platform != "linux" or parent is None:
        return
    fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(
        parent.sentinel, fcntl.F_SETSIG, signal.SIGKILL
    )  # instead of SIGIO, when the pipe's other end closes
    fcntl.fcntl(
        parent.sentinel, fcntl.F_SETFL, fcntl.fcntl(parent.sentinel, fcntl.F_GETFL) | os.O_ASYNC
    )
    if not parent.is_alive():  # it died before
        os._exit(1)


def _limit_memory(gigabytes: float) -> None:
    """Private memory beyond what is there now; an allocation past it is a MemoryError."""
    import resource

    if sys.platform == "linux":
        text = Path("/proc/self/status").read_text()
        now = int(text.split("VmData:")[1].split()[0]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (now + int(gigabytes * 2**30),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.remove": 1,
    "os.rename": 2,
    "os.rmdir": 1,
    "os.mkdir": 1,
    "os.truncate": 1,
    "os.link": 2,
    "os.symlink": 2,
    "os.chmod": 1,
    "os.utime": 1,
}  # events and how many of their first arguments are paths


def _watch(writable: Sequence[str]) -> None:
    """Refuse writes elsewhere, and forks, at the line that tries."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("os.fork", "os.forkpty"):
            raise PermissionError("a method may not fork: it has one process")
        paths = (
            arguments[:1]
            if event == "open" and arguments[2] & _WRITES
            else arguments[: _CHANGES.get(event, 0)]
        )
        for path in paths:
            if isinstance(path, (str, bytes, os.PathLike)):
                real = os.path.realpath(os.fsdecode(path))
                if not any(real == top or real.startswith(top + os.sep) for top in writable):
                    raise PermissionError(
                        f"a method may write into its working directory only, not {real}"
                    )

    sys.addaudithook(hook)


_CREATE, _ADD, _RESTRICT = 444, 445, 446  # system calls


def landlock() -> int:
    """Version of the kernel's Landlock, 0 where there is none."""
    return max(0, ctypes.CDLL(None).syscall(_CREATE, None, 0, 1)) if sys.platform == "linux" else 0


def _landlock(writable: Sequence[str]) -> None:
    """The kernel refuses writes elsewhere, of C code too; nothing happens where it has no Landlock."""
    if not (version := landlock()):
        return
    libc = ctypes.CDLL(None)
    # write file, remove directory and file, make of all kinds; refer (2) and truncate (3) since those versions
    access = (
        0b1_1111_1111_0010 | (1 << 13 if version >= 2 else 0) | (1 << 14 if version >= 3 else 0)
    )
    ruleset = libc.syscall(_CREATE, ctypes.byref(ctypes.c_uint64(access)), 8, 0)
    if ruleset < 0:
        return
    for path in writable:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = access.to_bytes(8, sys.byteorder) + handle.to_bytes(
            4, sys.byteorder, signed=True
        )  # packed struct
        libc.syscall(_ADD, ruleset, 1, rule, 0)
        os.close(handle)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, which Landlock asks for
    libc.syscall(_RESTRICT, ruleset, 0)
    os.close(ruleset)
