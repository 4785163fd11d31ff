"""torch.nn.LSTM, GRU and RNN, time first."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as pytorch
from numpy.typing import NDArray

from fastseq.bench.problems import Problem, Results
from fastseq.bench.sides import LocalSide
from fastseq.bench.sides._gates import inverse, reorder

_MODULES = {"lstm": pytorch.nn.LSTM, "gru": pytorch.nn.GRU, "simple_rnn": pytorch.nn.RNN}
# Which of Keras's gates come in torch's places: i, f, c, o is the same; z, r, h is r, z, n there. torch's GRU is the
# one with reset_after.
_ORDER = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2), "simple_rnn": (0,)}


def torch(problem: Problem, *, training: bool, threads: int) -> LocalSide:
    """torch.nn.LSTM, GRU or RNN."""
    pytorch.set_num_threads(threads)
    order = _ORDER[problem.cell]
    module = _MODULES[problem.cell](problem.shape.inputs, problem.shape.units)
    input_bias, recurrent_bias = problem.bias if problem.cell == "gru" else (problem.bias, np.zeros_like(problem.bias))
    parameters = [module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0, module.bias_hh_l0]
    values = [problem.kernel, problem.recurrent_kernel, input_bias, recurrent_bias]
    with pytorch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(pytorch.from_numpy(reorder(value, order).T))
    module.train(training)
    x = pytorch.from_numpy(np.ascontiguousarray(problem.x.swapaxes(0, 1))).requires_grad_(training)
    doutputs = pytorch.from_numpy(np.ascontiguousarray(problem.doutputs.swapaxes(0, 1)))

    def predict() -> Any:
        with pytorch.inference_mode():
            return [module(x)[0]]

    def train() -> Any:
        outputs = module(x)[0]
        return [outputs, *pytorch.autograd.grad(outputs, [x, *parameters], doutputs)]

    def read(tensors: list[Any]) -> Results:
        arrays = [tensor.detach().numpy() for tensor in tensors]
        results: Results = {"outputs": arrays[0].swapaxes(0, 1)}
        if training:
            dkernel, drecurrent_kernel, dinput_bias, drecurrent_bias = (_to_keras(a, order) for a in arrays[2:])
            results["dx"] = arrays[1].swapaxes(0, 1)
            results["dkernel"], results["drecurrent_kernel"] = dkernel, drecurrent_kernel
            results["dbias"] = np.stack([dinput_bias, drecurrent_bias]) if problem.cell == "gru" else dinput_bias
        return results

    return LocalSide(train if training else predict, read)


def _to_keras(gradient: NDArray[Any], order: tuple[int, ...]) -> NDArray[Any]:
    return reorder(gradient.T, inverse(order))
