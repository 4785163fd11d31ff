"""The directive `cli-help`: what `fastseq --help` and `fastseq COMMAND --help` print, for every command there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class CliHelp(SphinxDirective):
    """Runs the command while the documentation is built."""

    def run(self) -> list[nodes.Node]:
        overview = _help()
        commands = re.search(r"\{([\w,-]+)\}", overview)
        if commands is None:
            raise self.error("fastseq --help names no commands in braces")
        shown = [nodes.literal_block(overview, overview, language="text")]
        for command in commands[1].split(","):
            text = _help(command)
            section = nodes.section("", nodes.title("", f"fastseq {command}"), ids=[f"fastseq-{command}"])
            section += nodes.literal_block(text, text, language="text")
            shown.append(section)
        return shown


def _help(*command: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "fastseq", *command, "--help"],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,  # not where the source is, which may be without its compiled core
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
    ).stdout


def setup(app: Any) -> dict[str, Any]:
    app.add_directive("cli-help", CliHelp)
    return {"parallel_read_safe": True}
