"""fastseq.functional. Calls only what every revision of it has taken, since compare.py runs older ones."""

from __future__ import annotations

from typing import Any

from fastseq import functional as f
from fastseq.bench.problems import Problem, Results
from fastseq.bench.sides import LocalSide, UnavailableError


def functional(problem: Problem, *, training: bool, threads: int) -> LocalSide:
    """Follows fastseq's setting of threads, not `threads`, from call to call."""
    if not hasattr(f, f"{problem.cell}_forward"):
        raise UnavailableError(f"this revision has no {problem.cell}_forward")
    forward = getattr(f, f"{problem.cell}_forward")
    backward = getattr(f, f"{problem.cell}_backward")
    arguments = (problem.x, problem.kernel, problem.recurrent_kernel, problem.bias)
    mask = {} if problem.mask is None else {"mask": problem.mask}

    def predict() -> Any:
        return forward(*arguments, **mask, save_workspace=False), None

    def train() -> Any:
        result = forward(*arguments, **mask)
        return result, backward(result.workspace, *arguments, **mask, doutputs=problem.doutputs)

    def read(raw: Any) -> Results:
        result, gradients = raw
        results = {"outputs": result.outputs}
        if gradients is not None:
            results |= {name: getattr(gradients, name) for name in ("dx", "dkernel", "drecurrent_kernel", "dbias")}
        return results

    return LocalSide(train if training else predict, read)
