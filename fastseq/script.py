"""Runs a Python script as `python script.py` does, with the fast layers in it: `python -m fastseq script.py`."""

from __future__ import annotations

import builtins
import importlib
import importlib.machinery
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from types import CodeType, ModuleType, TracebackType

from fastseq import attention_package
from fastseq.attention_package import spec_of_others

__all__ = ["run_script"]


class _PatchWhenImported(MetaPathFinder):
    """Patches Keras right after the import of `fastseq.keras`. An import of Keras also imports `fastseq.keras`.

    This does not happen before the script runs, because the script may first set environment variables that Keras and
    TensorFlow read.
    """

    def __init__(self, patch: Callable[[], None]) -> None:
        self._patch = patch

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        after = {"keras": _import_fast_layers, "fastseq.keras": self._patch}.get(name)
        if after is None:
            return None
        spec = spec_of_others(self, name, path)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_more(module: ModuleType) -> None:
            execute(module)
            after()

        vars(spec.loader)["exec_module"] = execute_and_more
        return spec


def _import_fast_layers() -> None:
    if "fastseq.keras" not in sys.modules:  # else it is being imported, and has imported Keras
        importlib.import_module("fastseq.keras")


def run_script(
    script: str, arguments: Sequence[str], *, only: Sequence[str] | None = None, exclude: Sequence[str] = ()
) -> None:
    """Runs a script as `__main__`, and patches Keras when the script, or a module that it imports, imports Keras.

    `from attention import Attention` is answered as in `fastseq.keras.patch`.

    The script has the same `sys.argv`, `sys.path`, environment and `__main__` as without fastseq. Exceptions and
    `SystemExit` pass, with tracebacks that begin in the script. Processes that the script spawns are not patched, but
    forked ones are.

    Args:
        script: Path of the script.
        arguments: The script's arguments in `sys.argv`.
        only: As in `fastseq.keras.patch`.
        exclude: As in `fastseq.keras.patch`.

    Raises:
        OSError: The script cannot be read.
    """

    def patch() -> None:
        from fastseq.keras.patch import patch

        patch(only=only, exclude=exclude)

    with open(script, "rb") as file:
        source = file.read()

    path = os.path.abspath(script)
    loader = importlib.machinery.SourceFileLoader("__main__", path)
    module = ModuleType("__main__")
    vars(module).update(__file__=path, __cached__=None, __loader__=loader, __builtins__=builtins)
    sys.modules["__main__"] = module
    sys.argv = [script, *arguments]
    if not getattr(sys.flags, "safe_path", False):  # with safe_path, Python has put no folder at the front
        sys.path[0] = os.path.dirname(os.path.realpath(script))
    attention_package.answer()  # `patch` calls this, too, but a script may import `attention` before Keras
    if "fastseq.keras" in sys.modules:
        patch()
    else:
        sys.meta_path.insert(0, _PatchWhenImported(patch))
        if "keras" in sys.modules:
            _import_fast_layers()
    _hide_frames_of(run_script.__code__)
    exec(compile(source, path, "exec", dont_inherit=True), vars(module))


def _hide_frames_of(code: CodeType) -> None:
    """Removes a code object's frame, and its callers' frames, from the traceback of an uncaught exception."""
    show = sys.excepthook

    def show_rest(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        rest = traceback
        while rest is not None and rest.tb_frame.f_code is not code:
            rest = rest.tb_next
        if rest is not None:
            traceback = rest.tb_next
        show(kind, error.with_traceback(traceback), traceback)

    sys.excepthook = show_rest
