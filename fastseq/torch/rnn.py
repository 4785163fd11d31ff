"""Drop-in replacements for `torch.nn.LSTM`, `GRU` and `RNN`."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from fastseq.torch import functional

__all__ = ["GRU", "LSTM", "RNN", "StockFallbackWarning"]


class StockFallbackWarning(UserWarning):
    """A module computes with PyTorch's own code instead of the kernels; the message says why."""


def _transposed(tensor: Tensor) -> Tensor:
    """Exchanges the first two dimensions. The result and its gradient are contiguous: users call `view` on both."""
    if torch.compiler.is_compiling():  # it does not support such a function of a parameter, and chooses layouts itself
        return tensor.transpose(0, 1).contiguous()
    transposed: Tensor = _Transposed.apply(tensor)
    return transposed


class _Transposed(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return tensor.transpose(0, 1).contiguous()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.transpose(0, 1).contiguous()


class _Recurrent(nn.RNNBase):  # type: ignore[misc]
    """Base class of the three modules: handles layers, directions and layouts of sequences.

    A module has the parameters and the `state_dict` of PyTorch's own, and another `forward`. It must not have
    attributes that its stock class does not have, because `accelerate` changes the class of existing stock modules.
    """

    # The name of the function in `functional`: Dynamo of PyTorch 2.7 takes no bound method as a class attribute.
    _FUNCTION: ClassVar[str]
    _STATES: ClassVar[int] = 1
    # Whether the outputs have autocast's dtype, for tensors and for packed sequences.
    _AUTOCAST: ClassVar[tuple[bool, bool]] = (False, False)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """See the stock module's `forward`.

        Args:
            input: (timesteps, batch, inputs), with `batch_first` (batch, timesteps, inputs), without a batch
                (timesteps, inputs), or a `PackedSequence`, whose padding costs no work.
            hx: The initial state, for an LSTM a tuple of two: (num_layers * directions, batch, units) each; None for
                zero.

        Returns:
            The outputs in the input's layout, and the states after the last step in `hx`'s.
        """
        data = input.data if isinstance(input, PackedSequence) else input
        reason = self._why_stock(data)
        if reason is not None:
            if reason:
                warnings.warn(f"{type(self).__name__} computes as PyTorch's own: {reason}", StockFallbackWarning, 2)
            return super().forward(input, hx)
        packed = isinstance(input, PackedSequence)
        run = self._of_packed if packed else self._of_padded
        if not torch.is_autocast_enabled("cpu"):
            return run(input, hx)
        # The kernels compute in the parameters' dtype. Results have the same dtype as the stock module's results.
        dtype = torch.get_autocast_dtype("cpu") if self._AUTOCAST[packed] else data.dtype
        own = self.weight_ih_l0.dtype
        with torch.autocast("cpu", enabled=False):
            return _cast(run(_cast(input, own), _cast(hx, own)), dtype)

    def _why_stock(self, data: Tensor) -> str | None:
        """None if the kernels compute; else the reason why not, or "" if there should be no warning."""
        if torch.compiler.is_compiling():
            return None if not self.proj_size and data.device.type == "cpu" else ""
        if torch.jit.is_tracing() or torch._C._are_functorch_transforms_active():
            return ""
        if self.proj_size:
            return "proj_size is above 0"
        if data.device.type not in ("cpu", "cuda"):
            return f"its tensors are on {data.device}"
        if data.device.type == "cuda":
            return ""  # cuDNN's kernels are as fast
        if data.is_complex() or not data.is_floating_point():
            return ""  # PyTorch's error
        return None

    # --- layouts ------------------------------------------------------------------------------------------------------

    def _of_padded(self, x: Tensor, hx: Any) -> Any:
        if x.dim() not in (2, 3):
            raise ValueError(f"{type(self).__name__}: Expected input to be 2D or 3D, got {x.dim()}D instead")
        batched = x.dim() == 3
        if not batched:
            x = x.unsqueeze(0)
        elif not self.batch_first:
            x = _transposed(x)
        states = self._initial(x, hx, batched)
        outputs, last = self._layers(x, states, None)
        if not batched:
            outputs = outputs.squeeze(0)
            last = tuple(state.squeeze(1) for state in last)
        elif not self.batch_first:
            outputs = _transposed(outputs)
        return outputs, self._joined(last)

    def _of_packed(self, packed: PackedSequence, hx: Any) -> Any:
        data, batch_sizes, sorted_indices, unsorted_indices = packed
        x, lengths = nn.utils.rnn.pad_packed_sequence(PackedSequence(data, batch_sizes, None, None), batch_first=True)
        mask = torch.arange(x.shape[1]) < lengths.unsqueeze(1)
        states = self._initial(x, hx, True)
        if sorted_indices is not None:
            states = tuple(None if state is None else state.index_select(1, sorted_indices) for state in states)
        outputs, last = self._layers(x, states, mask)
        again = nn.utils.rnn.pack_padded_sequence(outputs, lengths, batch_first=True)
        if unsorted_indices is not None:
            last = tuple(state.index_select(1, unsorted_indices) for state in last)
        return PackedSequence(again.data, batch_sizes, sorted_indices, unsorted_indices), self._joined(last)

    def _initial(self, x: Tensor, hx: Any, batched: bool) -> tuple[Tensor | None, ...]:
        """For each state, (layers * directions, batch, units). Shapes are checked as the stock module does."""
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {x.shape[-1]}"
            )
        if hx is None:
            return (None,) * self._STATES
        states = hx if self._STATES == 2 else (hx,)
        expected = (self.num_layers * (2 if self.bidirectional else 1), x.shape[0], self.hidden_size)
        checked = []
        for state in states:
            if state.dim() != (3 if batched else 2):
                raise RuntimeError(
                    f"For {'batched 3-D' if batched else 'unbatched 2-D'} input, hx should also be "
                    f"{3 if batched else 2}-D but got {state.dim()}-D tensor"
                )
            state = state if batched else state.unsqueeze(1)
            if tuple(state.shape) != expected:
                raise RuntimeError(f"Expected hidden size {expected}, got {list(state.shape)}")
            checked.append(state)
        return tuple(checked)

    def _joined(self, states: tuple[Tensor, ...]) -> Any:
        return states if self._STATES == 2 else states[0]

    # --- layers -------------------------------------------------------------------------------------------------------

    def _layers(
        self, x: Tensor, states: tuple[Tensor | None, ...], mask: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Computes all layers and directions, for x (batch, timesteps, inputs)."""
        directions = 2 if self.bidirectional else 1
        finals: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            if layer > 0 and self.dropout > 0 and self.training:
                x = self._dropped(x, mask)
            both = []
            for direction in range(directions):
                index = layer * directions + direction
                initial = [None if state is None else state[index] for state in states]
                outputs, *last = self._one(x, layer, direction == 1, initial, mask)
                both.append(outputs.flip(1) if direction else outputs)
                finals.append(tuple(last))
            x = torch.cat(both, 2) if directions == 2 else both[0]
        return x, tuple(torch.stack(of_all) for of_all in zip(*finals, strict=True))

    def _dropped(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Dropout between layers. It draws the stock module's random numbers, in the order of that module's layout."""
        if mask is not None:  # packed: in the order of steps, and for each step of the rows that have it
            rows, steps = mask.t().nonzero(as_tuple=True)[::-1]
            factors = x.new_zeros(x.shape)
            factors[rows, steps] = nn.functional.dropout(x.new_ones(len(rows), x.shape[2]), self.dropout)
            return x * factors
        batch, timesteps, width = x.shape
        return x * nn.functional.dropout(x.new_ones(timesteps, batch, width), self.dropout).transpose(0, 1)

    def _one(
        self, x: Tensor, layer: int, reverse: bool, initial: list[Tensor | None], mask: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Computes one layer in one direction: the outputs in the order of computation, and the final states."""
        suffix = f"_l{layer}{'_reverse' if reverse else ''}"
        kernel = self._kernel(getattr(self, f"weight_ih{suffix}"))
        recurrent_kernel = self._kernel(getattr(self, f"weight_hh{suffix}"))
        bias = None
        if self.bias:
            bias = self._bias(getattr(self, f"bias_ih{suffix}"), getattr(self, f"bias_hh{suffix}"))
        results = getattr(functional, self._FUNCTION)(
            x,
            kernel,
            recurrent_kernel,
            bias,
            **dict(zip(("h0", "c0")[: self._STATES], initial, strict=True)),
            mask=mask,
            zero_output_for_mask=mask is not None,
            go_backwards=reverse,
            **self._settings(),
        )
        outputs, _, *last = results
        return outputs, *last

    def _settings(self) -> dict[str, Any]:
        """Further options of the function, which follow from the module's settings."""
        return {}

    def _kernel(self, weight: Tensor) -> Tensor:
        """Converts a weight (gates * units, inputs) to Keras's layout (inputs, gates * units)."""
        return _transposed(weight)

    def _bias(self, of_inputs: Tensor, of_state: Tensor) -> Tensor:
        return of_inputs + of_state


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """Casts a tensor, a packed sequence or a tuple of these."""
    if isinstance(value, (Tensor, PackedSequence)):
        return value.to(dtype)
    return None if value is None else tuple(_cast(one, dtype) for one in value)


class LSTM(_Recurrent, nn.LSTM):  # type: ignore[misc]
    """`torch.nn.LSTM`, computed by fastseq's kernels on a CPU: the same arguments, parameters and results."""

    _FUNCTION = "lstm"
    _STATES = 2
    _AUTOCAST = (True, False)


class GRU(_Recurrent, nn.GRU):  # type: ignore[misc]
    """`torch.nn.GRU`, computed by fastseq's kernels on a CPU: the same arguments, parameters and results."""

    _FUNCTION = "gru"

    def _kernel(self, weight: Tensor) -> Tensor:
        return super()._kernel(self._gates(weight))

    def _bias(self, of_inputs: Tensor, of_state: Tensor) -> Tensor:
        return torch.stack((self._gates(of_inputs), self._gates(of_state)))

    def _gates(self, weight: Tensor) -> Tensor:
        """Converts PyTorch's order of gates, r, z, n, to Keras's: z, r, n."""
        r, z, n = weight.chunk(3)
        return torch.cat((z, r, n))


class RNN(_Recurrent, nn.RNN):  # type: ignore[misc]
    """`torch.nn.RNN`, computed by fastseq's kernels on a CPU: the same arguments, parameters and results."""

    _FUNCTION = "simple_rnn"
    _AUTOCAST = (True, True)

    def _settings(self) -> dict[str, Any]:
        return {"activation": self.nonlinearity}
