"""The tracer: the first line after which something differs."""

import numpy as np
import torch

from benchmark.methods.line_trace import Trace, disagreement


def traced(tmp_path, body, probes=None):
    path = tmp_path / "traced.py"
    path.write_text(body)
    space = {}
    exec(compile(body, str(path), "exec"), space)
    trace = Trace(path, probes(space) if probes else {})
    return space, trace


def test_the_tracer_names_the_first_line_after_which_a_probe_differs(tmp_path):
    body = (
        "state = [0]\ndef inner():\n    a = 1\n    state[0] += 1\n    return a\n"
        "def explain():\n    b = inner()\n    return b\n"
    )
    space, trace = traced(
        tmp_path, body, lambda space: {"state": lambda: space["state"][0]}
    )
    with trace:
        space["explain"]()
    assert trace.changed() == {"state": 4} and trace.returned == 8


def test_the_tracer_names_the_first_line_at_which_two_runs_differ(tmp_path):
    body = "import numpy as np\ndef explain(x, k):\n    a = x + 1\n    b = a * k\n    c = b + 1\n    return c\n"
    runs = []
    for k in (1.0, 1.0, 2.0):
        space, trace = traced(tmp_path, body)
        with trace:
            space["explain"](np.arange(3.0), np.array([k]))
        runs.append(trace)
    same = lambda a, b: (a, b) if len(a) == 3 else None
    assert disagreement(runs[0], runs[1], same, 0.0) is None
    assert disagreement(runs[0], runs[2], same, 0.0) == 4


def test_variables_that_numpy_lacks_are_no_error(tmp_path):
    body = (
        "import torch\ndef explain(x):\n    a = x.bfloat16()\n    b = x.to_sparse()\n"
        "    return torch.vmap(lambda row: row.sum())(x)\n"
    )
    space, trace = traced(tmp_path, body)
    with trace:
        space["explain"](torch.eye(3))
    (_, last) = trace.records[-1]
    assert last["a"].dtype == np.float32 and np.array_equal(last["b"], np.eye(3))
