"""Units run side by side; one that fails or dies costs itself only."""

import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from benchmark import engine
from benchmark.engine import Unit, machine, pool
from tests.helpers.places import ROOT


def square(x):
    return x * x


def threads():
    import torch

    return torch.get_num_threads()


def fail(message):
    raise ValueError(message)


def die(delay=0.0):
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGKILL)


def hold(megabytes):
    return len(bytearray(megabytes * 2**20))


def fresh_pages(megabytes=128):
    """Pages that a block takes from the system, when one of its size has just been freed."""
    hold(megabytes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    hold(megabytes)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def slow_square(x):
    time.sleep(0.3)
    return x * x


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setenv("GLASSBENCH_DEVICE", "cpu")


def run(units, workers=2):
    return {
        done.unit.name: done
        for done in engine.run(units, label="test", workers=workers)
    }


def test_every_unit_gives_its_result():
    done = run([Unit(str(i), square, (i,)) for i in range(7)])
    assert {int(name): d.result for name, d in done.items()} == {
        i: i * i for i in range(7)
    }


def test_the_bar_moves_by_the_seconds_that_units_are_expected_to_take():
    units = [
        Unit("short", square, expected=1.0),
        Unit("long", square, expected=3.0),
        Unit("never ran", square, expected=float("inf")),
    ]
    shares = pool.shares(units)
    assert [shares[id(unit)] for unit in units] == [1 / 6, 3 / 6, 2 / 6]
    new = [Unit("a", square), Unit("b", square)]
    assert list(pool.shares(new).values()) == [0.5, 0.5] and pool.shares([]) == {}


def test_a_unit_goes_by_its_title(capsys):
    titled = [Unit("d/cnn/seed=0 grad_cam", square, (2,), title="d/cnn-0 GradCAM")]
    list(engine.run([*titled, Unit("plain", fail, ("no",))], label="explain"))
    said = capsys.readouterr().err
    assert "explain done: d/cnn-0 GradCAM\n" in said
    assert "explain failed: plain: ValueError: no" in said


def test_no_units_is_no_work():
    assert run([]) == {}


def test_workers_compute_on_one_thread():
    assert run([Unit("threads", threads)])["threads"].result == 1


def test_an_exception_is_one_line_and_stops_nothing_else():
    done = run([Unit("bad", fail, ("first\nsecond",)), Unit("good", square, (3,))])
    assert done["bad"].error.startswith("ValueError: first second (test_pool.py:")
    assert done["good"].result == 9


def test_a_killed_worker_costs_its_unit_only():
    units = [
        Unit("dies", die, (0.1,)),
        *(Unit(str(i), slow_square, (i,)) for i in range(4)),
    ]
    done = run(units)
    assert "killed" in done["dies"].error
    assert {i: done[str(i)].result for i in range(4)} == {i: i * i for i in range(4)}
    assert all(done[str(i)].error is None for i in range(4))


@pytest.mark.skipif(not machine._glibc(), reason="glibc's allocator")
def test_workers_keep_large_blocks_that_they_freed():
    assert (
        run([Unit("block", fresh_pages)])["block"].result < 100
    )  # else all of them: 128 MiB / 4 KiB = 32,768


@pytest.fixture
def told():
    """One worker, one unit after the other: what the first held is forgotten when the second begins."""
    return run(
        [
            Unit("large", hold, (400,)),
            Unit("small", hold, (1,)),
            Unit("slow", slow_square, (2,)),
        ],
        workers=1,
    )


SHADOWED = ("copy", "random", "signal", "selectors", "struct", "queue")
FRESH = """
import os
from benchmark import engine
from benchmark.engine import Unit
if __name__ == "__main__":
    units = [Unit("root", os.path.abspath, ("/",)), Unit("safe", os.getenv, ("PYTHONSAFEPATH",))]
    done = {d.unit.name: (d.result, d.error) for d in engine.run(units, label="test")}
    print(sorted(done.items()))
"""


def test_files_in_the_callers_folder_take_no_modules_place(tmp_path):
    """Also where the process that workers are forked from is yet to be started."""
    (program := tmp_path / "program" / "fresh.py").parent.mkdir()
    program.write_text(FRESH)
    (here := tmp_path / "here").mkdir()
    for name in SHADOWED:
        (here / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONSAFEPATH", None)
    found = subprocess.run(
        [sys.executable, str(program)],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
    )
    said = "[('root', ('/', None)), ('safe', (None, None))]"
    assert found.stdout.strip() == said, found.stderr


def test_a_unit_tells_its_time_and_device(told):
    assert 0.3 <= told["slow"].seconds < 10
    assert told["slow"].device == "cpu"


def test_a_unit_tells_the_memory_of_its_process(told):
    if not told["small"].gigabytes:
        pytest.skip("the system does not say how much memory a process used")
    assert told["large"].gigabytes > told["small"].gigabytes + 0.3


def test_ctrl_c_reaches_the_caller_and_kills_the_workers():
    units = [Unit(str(i), slow_square, (i,)) for i in range(20)]
    start = time.monotonic()
    results = engine.run(units, label="test", workers=2)
    next(results)
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt())
    assert time.monotonic() - start < 10
