"""The documentation's settings: `sphinx-build -W -n docs docs/_build/html`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import fastseq.keras
from fastseq.keras.native import NativeChoice

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "fastseq"
author = "The fastseq developers"
project_copyright = author
release = fastseq.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "myst_nb", "cli_help"]
exclude_patterns = ["_build", "extensions", "figures"]
myst_heading_anchors = 3
# Docstrings write code as Markdown does.
default_role = "code"

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_output_stderr = "remove"  # TensorFlow's notes on the machine
# Nothing from the network: notebooks with widgets would load them from there.
nb_ipywidgets_js: dict[str, Any] = {}

napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Call arguments", "params_style"), "Weights"]
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True

nitpicky = True
# No index of other projects' names is fetched; the rest are names of types that are not documented by themselves.
nitpick_ignore_regex = [
    ("py:.*", r"(collections|keras|np|numpy|pathlib|tensorflow)\..*"),
    ("py:.*", r"NDArray|FloatArray|Float64|fastseq\.reference\..*\._Run"),
]

html_theme = "furo"
html_title = f"fastseq {release}"
html_static_path: list[str] = []
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def _by_their_own_names() -> None:
    """A fast layer's `__name__` is its stock twin's, which autodoc would take for an alias."""
    for name in fastseq.keras.__all__:
        exported = getattr(fastseq.keras, name)
        if isinstance(exported, type) and issubclass(exported, NativeChoice):
            exported.__name__ = name


_by_their_own_names()
