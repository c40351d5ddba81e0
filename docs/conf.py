"""The documentation site: ``make docs`` builds it into ``docs/_build`` without a network; a warning is an error."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import pages

project = "glassbench"
author = "the glassbench authors"
copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]  # csv has no lexer
html_theme = "furo"
html_title = "glassbench"
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
pages.write(Path(__file__).parent / "_made")
