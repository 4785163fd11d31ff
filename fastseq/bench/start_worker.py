"""The script of a worker process: its package `fastseq.bench` is this folder, whatever fastseq it finds elsewhere.

So a worker can time another revision of fastseq, which has another `fastseq.bench` or none. And none is loaded before a
side asks for it: what the package loads, an OpenMP runtime, would be shared by other libraries.
"""

from __future__ import annotations

import importlib.util
import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asks
    del sys.path[0]  # this folder, whose modules have names of their own only inside the package
    folder = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        "fastseq.bench", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules["fastseq.bench"] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    from fastseq.bench.worker import main

    main()
