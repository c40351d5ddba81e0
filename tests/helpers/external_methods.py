"""What separate processes are asked to do; light, because each of them imports it."""

import os
import subprocess
import time
from pathlib import Path

from benchmark import store
from benchmark.engine import sandbox


def leave_a_child_running():
    subprocess.Popen(["sleep", "60"])
    return os.getpgid(0)


def sleep(seconds):
    time.sleep(seconds)
    return seconds


def where():
    Path("here.txt").write_text("x")
    return [os.getcwd(), os.environ["TMPDIR"]]


def not_json():
    return {1, 2}


def swallow():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise SystemExit("over") from None


def write_with_the_hook_alone(path):
    sandbox._landlock([])  # asks for nothing more; the hook speaks first
    open(path, "w").close()


def tell_and_sleep(path):
    store.write_text(path, str(os.getpid()))
    time.sleep(60)
