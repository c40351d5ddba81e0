"""The example of docs/your-network.md, executed."""

import re

from tests.helpers.places import ROOT


def test_the_example_in_python_runs():
    text = (ROOT / "docs" / "your-network.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(compile(code, "your-network.md", "exec"), {})
