"""The documentation's settings: `sphinx-build -W -n docs docs/_build/html`."""

from __future__ import annotations

import inspect
import os
import re
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras

import fastseq.keras

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
napoleon_attr_annotations = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {name: name for name in ("ArrayLike", "Float64", "FloatArray", "IndexArray")}
autodoc_preserve_defaults = True
autodoc_mock_imports = ["jax", "torch"]  # only its names are on the pages

nitpicky = True
# No index of other projects' names is fetched; the rest are names of types that are not documented by themselves.
nitpick_ignore_regex = [
    ("py:.*", r"(collections|jax|keras|nn|np|numpy|os|pathlib|tensorflow|torch)\..*|Tensor"),
    (
        "py:.*",
        r"fastseq\.keras\.patch\.Patch|ArrayLike|Float64|FloatArray|IndexArray|NDArray|fastseq\.reference\..*\._Run|fastseq\.autodiff\.functions\.Array",
    ),
]

html_theme = "furo"
html_title = f"fastseq {release}"
html_static_path: list[str] = []
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def _show_as_written() -> None:
    """Gives the classes that Keras makes its own the names and arguments that they have in the source.

    A fast layer's `__name__` is its stock twin's, which autodoc would take for an alias, and Keras wraps `__new__`.
    """
    for name in fastseq.keras.__all__:
        exported = getattr(fastseq.keras, name)
        if isinstance(exported, type) and issubclass(exported, (keras.layers.Layer, keras.optimizers.Optimizer)):
            exported.__name__ = name
            of_instance = inspect.signature(exported.__init__)
            exported.__signature__ = of_instance.replace(parameters=list(of_instance.parameters.values())[1:])


_show_as_written()


def _name_aliases(app: Any, what: str, name: str, obj: Any, options: Any, signature: str, returns: str) -> Any:
    """Sphinx writes the aliases of `autodoc_type_aliases` in a union as objects of its own."""
    return tuple(text and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text) for text in (signature, returns))


def setup(app: Any) -> None:
    app.connect("autodoc-process-signature", _name_aliases)
