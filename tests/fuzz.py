"""Tests the properties of tests/property with many random cases, in several processes.

    python tests/fuzz.py                    # 10,000 cases of every property of the operations, 400 of the layers'
    python tests/fuzz.py --only lstm adam --cases 2000 --jobs 2

The cases are divided into chunks. Each chunk is a separate process with its own seed, so that a crash fails one chunk
only, and a chunk always has the same cases. Chunks that have passed are recorded in `--out`, and the same command
continues where it was stopped. The first failing case of a chunk is shrunk and printed, for use in `@example(...)`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

TESTS = Path(__file__).parent
# As in the profile "long" of property/conftest.py; layers have a fraction of it.
CASES_OF_CHUNK = {"operation": 500, "layer": 20, "hostile": 500}
SECONDS_OF_CHUNK = 3600


@dataclass(frozen=True)
class Chunk:
    kind: str
    name: str  # a test, or the functions that a hostile caller calls
    seed: int

    @property
    def command(self) -> list[str]:
        if self.kind == "hostile":
            cases = str(CASES_OF_CHUNK[self.kind])
            return ["property/hostile.py", self.name, "--seed", str(self.seed), "--calls", cases]
        options = ["-q", "-c", "../pyproject.toml", "--rootdir", "..", "--tb=short", "-p", "no:cacheprovider"]
        profile = ["--hypothesis-profile=long", f"--hypothesis-seed={self.seed}", "--hypothesis-show-statistics"]
        return ["-m", "pytest", self.name, *options, *profile]


@dataclass(frozen=True)
class Result:
    chunk: Chunk
    passed: bool
    cases: int
    seconds: float
    output: str = ""


def find_properties() -> list[tuple[str, str]]:
    """The kinds and names of all properties."""
    collect = ["-m", "pytest", "--collect-only", "-q", "-c", "../pyproject.toml", "--rootdir", "..", "property"]
    listed = subprocess.run([sys.executable, *collect], cwd=TESTS, capture_output=True, text=True, check=True).stdout
    found = set(re.findall(r"^tests/(property/test_property_\S+::\w+)", listed, re.MULTILINE))
    tests = sorted(test for test in found if "hostile" not in test)
    assert tests, listed
    kinds = [("layer" if "_keras" in test else "operation", test) for test in tests]
    return [*kinds, ("hostile", "core"), ("hostile", "tensorflow")]


def run(chunk: Chunk) -> Result:
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, *chunk.command],
            cwd=TESTS,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS_OF_CHUNK,
            check=False,
        )
        passed, output = done.returncode == 0, done.stdout
    except subprocess.TimeoutExpired as error:
        passed, output = False, f"{error}\n{error.stdout}"
    counts = re.findall(r"(\d+) (?:passing|calls, \d+ of which returned)", output)
    # hostile.py prints its number of calls; a property, the number of cases in each of its phases.
    return Result(chunk, passed, sum(map(int, counts)), time.monotonic() - began, "" if passed else output)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="of each property of an operation (10000)")
    parser.add_argument("--layer-cases", type=int, default=400, help="of each property of a layer (400)")
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT", help="properties with this in their names")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (1)")
    parser.add_argument("--out", type=Path, default=TESTS.parent / "runs" / "fuzz.jsonl", help="what has passed")
    arguments = parser.parse_args()

    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.touch()
    records = [json.loads(line) for line in arguments.out.read_text().splitlines()]
    counts = Counter[str]()
    for record in records:
        counts[record["chunk"]["name"]] += record["cases"]
    passed_before = {Chunk(**record["chunk"]) for record in records}

    wanted = [(kind, name) for kind, name in find_properties() if any(only in name for only in arguments.only)]
    most = {kind: arguments.layer_cases if kind == "layer" else arguments.cases for kind in CASES_OF_CHUNK}
    by_seed = itertools.zip_longest(
        *([Chunk(kind, name, s) for s in range(-(-most[kind] // CASES_OF_CHUNK[kind]))] for kind, name in wanted)
    )
    # One of each property after the other, so that all are tried soon.
    chunks = [chunk for turn in by_seed for chunk in turn if chunk is not None]
    left = [chunk for chunk in chunks if chunk not in passed_before]
    print(f"{len(chunks)} chunks, {len(chunks) - len(left)} of them done before", flush=True)

    failures = 0
    with ThreadPoolExecutor(arguments.jobs) as pool, arguments.out.open("a") as out:
        for number, result in enumerate(pool.map(run, left), 1):
            chunk = result.chunk
            word = "passed" if result.passed else "FAILED"
            where = f"[{number}/{len(left)}] {chunk.name} seed {chunk.seed}"
            print(f"{where}: {word}, {result.cases} cases, {result.seconds:.0f} s", flush=True)
            if result.passed:
                counts[chunk.name] += result.cases
                record = {"chunk": asdict(chunk), "cases": result.cases, "seconds": round(result.seconds, 1)}
                out.write(json.dumps(record) + "\n")
                out.flush()
            else:
                failures += 1
                command = " ".join(["python", *chunk.command])
                print(f"{result.output[-6000:]}\nTo repeat: cd {os.path.relpath(TESTS)} && {command}", flush=True)
    for name, count in sorted(counts.items()):
        print(f"{count:8} cases passed of {name}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
