"""fastseq.Predictor of a model with stock layers."""

from __future__ import annotations

from fastseq import Predictor
from fastseq.bench.implementations import BatchImplementation
from fastseq.bench.problems import ModelProblem
from fastseq.training.models import MODELS


def make_models(implementation: str, problem: ModelProblem, pass_: str, *, threads: int) -> BatchImplementation:
    """Predictions of batches as NumPy arrays."""
    model = MODELS[problem.name].build("stock", mask_zero=problem.masked)
    model.set_weights(list(problem.weights.values()))
    predictor = Predictor(model)
    return BatchImplementation(
        lambda x: predictor(x, threads=threads), [x for x, _ in problem.batches], lambda outputs: {"outputs": outputs}
    )
