"""What the scripts compile is kept in the user's cache and used again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder for it, made if there is none."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastseq-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def key(*parts: str) -> str:
    """A short name for something made of these."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
