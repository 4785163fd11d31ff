"""The documentation: examples run, links lead somewhere, and figures are up to date."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "HACKING.md", *DOCS.rglob("*.md")])
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


def test_figures_are_those_that_the_scripts_draw(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(DOCS / "figures"), "--out", str(tmp_path)], check=True)
    drawn = {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    kept = [
        file for file in (DOCS / "figures").glob("*.svg") if not file.name.startswith("bench-")
    ]  # see test_bench.py
    assert drawn == {file.name: file.read_text(encoding="utf-8") for file in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_images_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for image, text, target in re.findall(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", prose):
        assert text.strip(), f"{target} has no text that says what it is"
        assert not (image and "\n" in text), f"{target}: pages would join the words at the end of a line"
        if not target.startswith(("#", "https:")):
            assert (page.parent / target.partition("#")[0]).is_file(), target


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/quick-start.md", "docs/serving.md"])
def test_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, as a reader runs them; x and y are the reader's own."""
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    names: dict[str, Any] = {"x": np.zeros((4, 100), np.int32), "y": np.eye(46, dtype=np.float32)[:4]}
    for example in examples:
        exec(example, names)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: str(notebook.name))
def test_notebooks_are_kept_without_outputs(notebook: Path) -> None:
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
