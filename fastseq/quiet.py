"""Keeps TensorFlow's messages about the machine off the standard error of fastseq's own commands.

TensorFlow writes some messages during its import and before its first operation, whatever `TF_CPP_MIN_LOG_LEVEL` says.
It writes them from C++, so Python cannot catch them. So a separate process, which runs this file, filters the lines. It
shows all other lines at once, including errors that end TensorFlow's process.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator

__all__ = ["is_noise", "quiet_start"]

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # 0 shows all, 1 warnings and errors, 2 errors
_NOTES = re.compile(
    # Notes (I) and warnings (W), as they look before TensorFlow 2.18 and since.
    r"[IW]\d{4} \S+ +\d+ \S+:\d+\] "
    r"|\d{4}-\d\d-\d\d \S+: [IW] \S+:\d+\] "
    r"|WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR"
    r"|To enable the following instructions: .*, rebuild TensorFlow with the appropriate compiler flags"
    # Errors where there is no GPU.
    r"|.*(failed call to cuInit|Unable to register cu\w+ factory)"
)


def is_noise(line: str) -> bool:
    """Whether a line is a message of TensorFlow about the machine that the user has not asked for."""
    if "oneDNN custom operations" in line and "TF_ENABLE_ONEDNN_OPTS" in os.environ:
        return False
    return _NOTES.match(line) is not None


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """A context in which TensorFlow should be imported and run its first operation, without its messages.

    After the context, `TF_CPP_MIN_LOG_LEVEL` suppresses messages. If the user has set it to less than 2, or has set
    `TF_CPP_MAX_VLOG_LEVEL`, all messages are shown.
    """
    asked_for = os.environ.get(_LEVEL, "2") in ("0", "1") or "TF_CPP_MAX_VLOG_LEVEL" in os.environ
    os.environ.setdefault(_LEVEL, "2")
    if asked_for or "tensorflow" in sys.modules or sys.stderr is None:
        yield
        return
    # The process ends at the end of its input. In a new session, Ctrl-C reaches only the process that writes.
    reader = subprocess.Popen([sys.executable, "-I", __file__], stdin=subprocess.PIPE, start_new_session=True)
    assert reader.stdin is not None
    sys.stderr.flush()
    shown = os.dup(2)
    os.dup2(reader.stdin.fileno(), 2)
    reader.stdin.close()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(shown, 2)
        os.close(shown)
        reader.wait()


if __name__ == "__main__":
    for line in sys.stdin.buffer:
        if not is_noise(line.decode(errors="replace")):
            os.write(2, line)
