import numpy as np
from numpy.typing import NDArray

def num_threads() -> int: ...
def requested_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def allow_oversubscription(on: bool) -> None: ...
def isa() -> str: ...
def set_isa(name: str) -> None: ...
def available_isas() -> list[str]: ...
def build_info() -> dict[str, str]: ...
def fma_peak(threads: int, seconds: float) -> float: ...
def idle_memory() -> int: ...
def release_idle_memory() -> None: ...
def poison_fresh_memory(on: bool) -> None: ...

_Array = NDArray[np.float32] | NDArray[np.float64]
_Index = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int32]

_Ids = NDArray[np.int32] | NDArray[np.int64]

def pooled_timesteps(timesteps: int, pool_size: int, strides: int, padding: str) -> int: ...

# Forward: outputs, last_output, h_n, c_n, workspace. Backward: dx, dkernel, drecurrent_kernel, dbias, dh0, dc0.
_Forward = tuple[_Array | None, _Array, _Array, None, _Array | None]
_Backward = tuple[_Array, _Array, _Array, _Array | None, _Array, None]

class Cpu:
    def embedding_forward(self, ids: _Ids, embeddings: _Array) -> _Array: ...
    def embedding_backward(self, ids: _Ids, doutputs: _Array, input_dim: int, squared: bool) -> _Array: ...
    def adam(
        self,
        variable: _Array,
        momentum: _Array,
        velocity: _Array,
        velocity_hat: _Array | None,
        gradient: _Array,
        indices: _Ids | None,
        alpha: float,
        beta_1: float,
        beta_2: float,
        epsilon: float,
    ) -> tuple[_Array, _Array, _Array, _Array | None]: ...
    def dropout(self, x: _Array, rate: float, seed: tuple[int, int], noise_shape: list[int]) -> _Array: ...

    class RnnArguments:
        def __init__(
            self,
            *,
            x: _Array,
            kernel: _Array,
            recurrent_kernel: _Array,
            bias: _Array | None,
            h0: _Array | None,
            c0: _Array | None = ...,
            mask: NDArray[np.bool_] | None,
            dropout_mask: _Array | None,
            recurrent_dropout_mask: _Array | None,
            activation: str,
            recurrent_activation: str = ...,
            reset_after: bool = ...,
            go_backwards: bool,
            zero_output_for_mask: bool,
        ) -> None: ...

    def lstm_forward(
        self, arguments: RnnArguments, return_sequences: bool, save_workspace: bool
    ) -> tuple[_Array | None, _Array, _Array, _Array, _Array | None]: ...
    def lstm_backward(
        self,
        arguments: RnnArguments,
        workspace: _Array,
        doutputs: _Array | None,
        dlast_output: _Array | None,
        dh_n: _Array | None,
        dc_n: _Array | None,
    ) -> tuple[_Array, _Array, _Array, _Array | None, _Array, _Array]: ...
    def gru_forward(self, arguments: RnnArguments, return_sequences: bool, save_workspace: bool) -> _Forward: ...
    def gru_backward(
        self,
        arguments: RnnArguments,
        workspace: _Array,
        doutputs: _Array | None,
        dlast_output: _Array | None,
        dh_n: _Array | None,
        dc_n: _Array | None,
    ) -> _Backward: ...
    def simple_rnn_forward(self, arguments: RnnArguments, return_sequences: bool, save_workspace: bool) -> _Forward: ...
    def simple_rnn_backward(
        self,
        arguments: RnnArguments,
        workspace: _Array,
        doutputs: _Array | None,
        dlast_output: _Array | None,
        dh_n: _Array | None,
        dc_n: _Array | None,
    ) -> _Backward: ...

    class Conv1dArguments:
        def __init__(
            self,
            *,
            x: _Array,
            kernel: _Array,
            bias: _Array | None,
            activation: str,
            padding: str,
            strides: int,
            dilation_rate: int,
            groups: int,
            pool_size: int | None = ...,
            pool_strides: int = ...,
            pool_padding: str = ...,
        ) -> None: ...

    def conv1d_forward(self, arguments: Conv1dArguments, save_argmax: bool) -> tuple[_Array, _Index | None]: ...
    def conv1d_backward(
        self, arguments: Conv1dArguments, outputs: _Array, argmax: _Index | None, doutputs: _Array
    ) -> tuple[_Array, _Array, _Array | None]: ...
    def max_pool_forward(
        self, x: _Array, pool_size: int, strides: int, padding: str, save_argmax: bool
    ) -> tuple[_Array, _Index | None]: ...
    def max_pool_backward(
        self, argmax: _Index, doutputs: _Array, timesteps: int, pool_size: int, strides: int, padding: str
    ) -> _Array: ...
    def average_pool_forward(self, x: _Array, pool_size: int, strides: int, padding: str) -> _Array: ...
    def average_pool_backward(
        self, doutputs: _Array, timesteps: int, pool_size: int, strides: int, padding: str
    ) -> _Array: ...

cpu: Cpu
