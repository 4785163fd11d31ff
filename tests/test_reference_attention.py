"""The definition of attention, against finite differences and against the package that it follows."""

from __future__ import annotations

import numpy as np
import pytest
from attention_cases import PACKAGE, SCORES, every_mask, every_score, make_case
from kernel_checks import finite_difference
from tolerances import FINITE_DIFFERENCE, REFERENCE, assert_close

from fastseq import reference


@every_mask
@every_score
def test_backward_matches_finite_difference(score: str, mask: str) -> None:
    case = make_case(score, mask)
    doutputs = np.random.default_rng(1).standard_normal((len(case.x), case.units))

    def forward() -> reference.AttentionForward:
        return reference.attention_forward(case.x, case.weights, score=score, mask=case.mask)

    gradients = reference.attention_backward(forward(), doutputs)
    for array, gradient in zip((case.x, *case.weights), (gradients.dx, *gradients.dweights), strict=True):
        difference = finite_difference(lambda: float((doutputs * forward().outputs).sum()), array)
        assert_close(gradient, difference, FINITE_DIFFERENCE)


@every_score
def test_matches_the_package(score: str) -> None:
    recorded = PACKAGE[score]
    forward = reference.attention_forward(recorded["x"], recorded["weights"], score=score)
    assert_close(forward.outputs, recorded["outputs"], REFERENCE["float64"])
    gradients = reference.attention_backward(forward, np.cos(forward.outputs))
    assert_close(gradients.dx, recorded["dx"], REFERENCE["float64"])
    for got, expected in zip(gradients.dweights, recorded["dweights"], strict=True):
        assert_close(got, expected, REFERENCE["float64"])


@every_mask
@every_score
def test_a_masked_sequence_is_the_shorter_one_of_its_unmasked_steps(score: str, mask: str) -> None:
    case = make_case(score, mask)
    forward = reference.attention_forward(case.x, case.weights, score=score, mask=case.mask)
    for row, on in enumerate(case.steps):
        assert not forward.attention[row, ~on].any()
        if on.any():
            alone = reference.attention_forward(case.x[None, row, on], case.weights, score=score)
            assert_close(forward.attention[None, row, on], alone.attention, REFERENCE["float64"])
            assert_close(forward.outputs[None, row], alone.outputs, REFERENCE["float64"])
        else:
            assert not forward.outputs[row].any()


def test_scores_far_apart() -> None:
    weights = [np.eye(2) * 1e200, np.ones((4, 1))]
    x = [[[1e-100, 0.0], [1.0, 0.0]], [[1e100, 0.0], [1.0, 0.0]]]
    with np.errstate(over="raise", invalid="raise"):
        attention = reference.attention_forward(x, weights).attention
    np.testing.assert_array_equal(attention, [[0.0, 1.0], [1.0, 0.0]])


def test_rejects_another_score() -> None:
    assert SCORES == ("luong", "bahdanau")
    with pytest.raises(ValueError, match="score must be 'luong' or 'bahdanau', got 'dot'"):
        reference.attention_forward(np.ones((1, 2, 3)), [np.ones((3, 3)), np.ones((6, 1))], score="dot")
