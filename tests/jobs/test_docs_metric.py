"""The example of docs/your-metric.md, executed and checked."""

import re
from pathlib import Path

import numpy as np

from benchmark.api import METRICS, Batch, Explanation
from benchmark.jobs import check_metric
from tests.helpers.places import ROOT

TEXT = (ROOT / "docs" / "your-metric.md").read_text()


def test_the_example_is_a_metric_in_which_nothing_is_to_change(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, *_ = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    Path("my.py").write_text(code)
    found = check_metric.check_metric("my.py:mass_on_top")
    assert len(found) > 8 and not [f for f in found if f.wrong or f.doubtful], found
    METRICS.pop("mass_on_top", None)  # of another test that ran this page
    space: dict = {"__name__": "my"}
    exec(compile(code, "my.py", "exec"), space)
    del METRICS["mass_on_top"]
    maps = np.array([[[4.0, 0], [0, 0]], [[1, -1], [1, -1]]])  # one pixel; all alike
    batch = Batch(x=maps[:, None], y=np.arange(2))
    value = space["mass_on_top"](
        Explanation(heatmaps=maps), None, batch, None, share=0.25
    )
    assert value.tolist() == [1.0, 0.25]


def test_every_argument_of_the_declaration_is_explained():
    import inspect

    from benchmark.api import metric

    for name in inspect.signature(metric).parameters:
        assert f"| `{name}` |" in TEXT, name
