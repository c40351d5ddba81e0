"""A process of its own for external code: bounded in time, memory and output, and kept out of our files.

    call = Call(function, arguments, Limits(seconds=60))
    while not call.ended(wait(call.channels, call.left())):
        pass
    call.result, call.error

The process is forked from the fork server: torch is loaded, and nothing of the caller's state. It may write into its
working directory, a temporary folder, and into the user's cache. Landlock (Linux 5.13 and later) enforces this for C
code too; an audit hook raises at the line of Python that tries, and refuses to fork. Processes that it leaves running
are killed with it. This contains mistakes, not malice: do not run a file here that you would not run at all.
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

_START = 120.0  # seconds that a process may take to get ready
_LEAVE = 10.0  # seconds that it may take to exit after its answer
_TAIL = 400  # characters of its output that are kept


@dataclass(frozen=True)
class Limits:
    """What a call may use: wall time, memory beyond what the process starts with, and output."""

    seconds: float = 900.0
    gigabytes: float = 8.0
    printed: int = 2**20  # bytes


@contextlib.contextmanager
def _no_interrupt() -> Iterator[None]:
    """Delay Ctrl-C until the block ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Call:
    """``function(*arguments)``, running in a process of its own; its result is sent back as JSON.

    Attributes:
        result, error: one of them is set once ``ended`` returns True; ``error`` is one line.
        printed: the end of its output.
    """

    def __init__(
        self,
        context: BaseContext,
        function: Callable[..., Any],
        arguments: Sequence[Any],
        limits: Limits,
        folder: Path | None = None,
    ) -> None:
        self.limits = limits
        self.result: Any = None
        self.error: str | None = None
        self.printed = ""
        self._folder = str(folder or tempfile.mkdtemp(prefix=scratch()))
        self._keep_folder = folder is not None
        self._answer, answer = context.Pipe(duplex=False)
        self._output, output = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_main,
            args=(function, arguments, limits, answer, output, self._folder),
        )
        with (
            _no_interrupt()
        ):  # an interrupted start would leave a child that dies with a traceback
            self._process.start()
        answer.close()
        output.close()
        self._open: list[Connection] = [self._output, self._answer]
        self._deadline = time.monotonic() + _START
        self._bytes_printed = 0
        self._answered = False

    @property
    def channels(self) -> list[Any]:
        """What to pass to ``multiprocessing.connection.wait``."""
        return [*self._open, self._process.sentinel]

    def left(self) -> float:
        """Seconds until the time limit."""
        return max(0.0, self._deadline - time.monotonic())

    def ended(self, ready: Iterable[Any]) -> bool:
        """Read what is ready; True once the call is over and its process gone."""
        if self._output in ready:
            self._read_output()
        elif self._answer in ready:
            self._read_answer()
        elif self._process.sentinel in ready:
            if not self._answered:
                self.error = _cause_of_death(self._process.exitcode, self.limits)
            self.kill()
            return True
        if self._bytes_printed > self.limits.printed:
            self.result, self.error = (
                None,
                f"printed more than {self.limits.printed / 2**20:g} MB",
            )
            self.kill()
            return True
        if self.left() == 0:
            if not self._answered:
                limit = f"{self.limits.seconds:g} seconds"
                self.error = f"took longer than the {limit} that it may take"
            self.kill()
            return True
        return False

    def _read_output(self) -> None:
        block = os.read(self._output.fileno(), 2**16)
        self._bytes_printed += len(block)
        self.printed = (self.printed + block.decode(errors="replace"))[-_TAIL:]
        if not block:
            self._open.remove(self._output)

    def _read_answer(self) -> None:
        try:
            text = self._answer.recv_bytes()
        except (EOFError, OSError):
            self._open.remove(self._answer)
            return
        if not text:  # the process is ready and starts to work
            self._deadline = time.monotonic() + self.limits.seconds
            return
        self.result, self.error = json.loads(text)
        self._answered = True
        if self.error and (
            "MemoryError" in self.error or "allocate memory" in self.error
        ):
            self.error += f"; it may use {self.limits.gigabytes:g} GB"
        self._deadline = time.monotonic() + _LEAVE

    def kill(self) -> None:
        """Kill the process and all that it started; remove its folder, unless the caller gave one."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._output.close()
        self._answer.close()
        if not self._keep_folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def _cause_of_death(code: int | None, limits: Limits) -> str:
    if code is None or code >= 0:
        return f"its process ended without a result (exit code {code})"
    name = signal.Signals(-code).name
    text = f"its process was killed by {name}"
    if name in ("SIGKILL", "SIGABRT"):
        text += f" (out of memory? it may use {limits.gigabytes:g} GB)"
    return text


# --------------------------------------------------------------------------------------------- inside the process


def _main(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    limits: Limits,
    answer: Connection,
    output: Connection,
    folder: str,
) -> None:
    os.setsid()  # a process group of its own, so that it can be killed as a whole
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    output.close()
    os.chdir(folder)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    sys.dont_write_bytecode = True
    die_with_parent()
    _limit_memory(limits.gigabytes)
    _refuse_writes(_writable(folder))
    _landlock(_writable(folder))
    answer.send_bytes(b"")  # ready
    try:
        text = json.dumps([function(*arguments), None])
    except SystemExit as stop:
        text = json.dumps([None, f"called sys.exit({stop.code!r})"])
    except BaseException as failure:  # tracebacks cannot be sent
        text = json.dumps([None, str(failure) or type(failure).__name__])
    sys.stdout.flush()
    sys.stderr.flush()
    answer.send_bytes(text.encode())
    os._exit(0)  # without running the threads and exit handlers that it left behind


def _writable(folder: str) -> list[str]:
    """The folders that the process may write into."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    places = (folder, cache, "/dev", "/proc")
    return [os.path.realpath(place) for place in places if os.path.isdir(place)]


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that asked for it dies, for whatever reason (Linux only).

    PR_SET_PDEATHSIG would wait for the death of the fork server in between, which lives as long as its children do. The
    sentinel of the parent is a pipe: the kernel sends SIGKILL, in place of SIGIO, when its other end closes.
    """
    parent = multiprocessing.parent_process()
    if sys.platform != "linux" or parent is None:
        return
    pipe = parent.sentinel
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(pipe, fcntl.F_GETFL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, flags | os.O_ASYNC)
    if not parent.is_alive():  # it died before that
        os._exit(1)


def _limit_memory(gigabytes: float) -> None:
    """Limit private memory beyond what is in use now (Linux only); more raises MemoryError."""
    import resource

    if sys.platform == "linux":
        text = Path("/proc/self/status").read_text()
        now = int(text.split("VmData:")[1].split()[0]) * 1024
        most = now + int(gigabytes * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {  # audit events, and how many of their first arguments are paths
    "os.remove": 1,
    "os.rename": 2,
    "os.rmdir": 1,
    "os.mkdir": 1,
    "os.truncate": 1,
    "os.link": 2,
    "os.symlink": 2,
    "os.chmod": 1,
    "os.utime": 1,
}


def _refuse_writes(writable: Sequence[str]) -> None:
    """Refuse writes to other places, and forks, at the line of Python that tries."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("os.fork", "os.forkpty"):
            raise PermissionError("a method may not fork: it has one process")
        count = _CHANGES.get(event, 0)
        if event == "open" and arguments[2] & _WRITES:
            count = 1
        for path in arguments[:count]:
            if isinstance(path, (str, bytes, os.PathLike)):
                check(os.path.realpath(os.fsdecode(path)))

    def check(path: str) -> None:
        if not any(path == top or path.startswith(top + os.sep) for top in writable):
            raise PermissionError(
                f"a method may write into its working directory only, not {path}"
            )

    sys.addaudithook(hook)


_CREATE, _ADD, _RESTRICT = 444, 445, 446  # system calls


def landlock() -> int:
    """Version of the kernel's Landlock; 0 without."""
    if sys.platform != "linux":
        return 0
    return max(0, ctypes.CDLL(None).syscall(_CREATE, None, 0, 1))


def _landlock(writable: Sequence[str]) -> None:
    """Have the kernel refuse writes to other places, by C code too; does nothing where it has no Landlock."""
    version = landlock()
    if not version:
        return
    libc = ctypes.CDLL(None)
    access = 0b1_1111_1111_0010  # write file, remove directory and file, make files of all kinds
    if version >= 2:
        access |= 1 << 13  # refer
    if version >= 3:
        access |= 1 << 14  # truncate
    ruleset = libc.syscall(_CREATE, ctypes.byref(ctypes.c_uint64(access)), 8, 0)
    if ruleset < 0:
        return
    for path in writable:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        packed_handle = handle.to_bytes(4, sys.byteorder, signed=True)
        rule = (
            access.to_bytes(8, sys.byteorder) + packed_handle
        )  # struct landlock_path_beneath_attr
        libc.syscall(_ADD, ruleset, 1, rule, 0)
        os.close(handle)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, which Landlock requires
    libc.syscall(_RESTRICT, ruleset, 0)
    os.close(ruleset)
