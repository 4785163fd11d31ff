"""TensorFlow's start, in a process of the command line."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator

# What it writes when it starts: that it found no GPU, what it was compiled with, plugins that it registers twice. Fatal
# errors (F) are not among them. Before its log is set up, TF_CPP_MIN_LOG_LEVEL has no effect on that.
_NOTE = re.compile(
    rb"[IWE]\d{4} |\d{4}-\d\d-\d\d [\d:.]+: [IWE] |WARNING: All log messages before absl::InitializeLog"
    rb"|To enable the following instructions: "
)


def start_tensorflow(*, quiet: bool) -> None:
    """Imports TensorFlow and lets it look for devices, after which it has written all its notes to stderr.

    Args:
        quiet: Whether to leave these notes out. All else that is written then comes through.
    """
    if "tensorflow" in sys.modules:
        return
    with _without_notes() if quiet else contextlib.nullcontext():
        import tensorflow as tf

        tf.config.list_physical_devices()  # settings of threads may still be made after it


@contextlib.contextmanager
def _without_notes() -> Iterator[None]:
    """Leads stderr through a process that drops the notes: it still has the last words if this one is aborted."""
    sys.stderr.flush()
    stderr = os.dup(2)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends when nobody writes to it any more
        os.close(writing)
        with open(reading, "rb") as lines:
            for line in lines:
                if not _NOTE.match(line):
                    os.write(stderr, line)
        os._exit(0)
    os.close(reading)
    os.dup2(writing, 2)
    os.close(writing)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        os.waitpid(child, 0)
