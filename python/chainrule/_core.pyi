"""Types of the compiled module. Written by ``python -m tests.stubs``; not to be edited."""

import collections.abc
import typing

import numpy.typing

def adam(
    params: object,
    grads: object,
    exp_avgs: object,
    exp_avg_sqs: object,
    max_exp_avg_sqs: object,
    steps: object,
    lr: float | int,
    beta1: float | int,
    beta2: float | int,
    eps: float | int,
    weight_decay: float | int,
    decoupled: bool,
    maximize: bool,
) -> None: ...
def adaptive_avg_pool2d(x: object, output_size: object) -> numpy.typing.NDArray[typing.Any]: ...
def adaptive_avg_pool2d_backward(dy: object, input_shape: object) -> numpy.typing.NDArray[typing.Any]: ...
def amax(x: object, axis: object = None, keepdims: bool = False) -> numpy.typing.NDArray[typing.Any]: ...
def amin(x: object, axis: object = None, keepdims: bool = False) -> numpy.typing.NDArray[typing.Any]: ...
def argmax(x: object, axis: object = None, keepdims: bool = False) -> numpy.typing.NDArray[typing.Any]: ...
def argmin(x: object, axis: object = None, keepdims: bool = False) -> numpy.typing.NDArray[typing.Any]: ...
def avg_pool2d(
    x: object,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: object = None,
) -> numpy.typing.NDArray[typing.Any]: ...
def avg_pool2d_backward(
    dy: object,
    input_shape: object,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: object = None,
) -> numpy.typing.NDArray[typing.Any]: ...
def batch_norm(
    x: object,
    weight: object = None,
    bias: object = None,
    running_mean: object = None,
    running_var: object = None,
    training: bool = True,
    momentum: float | int = 0.1,
    eps: float | int = 1e-05,
) -> tuple[typing.Any, ...]: ...
def batch_norm_backward(
    dy: object,
    x: object,
    mean: object,
    rstd: object,
    weight: object = None,
    training: bool = True,
    needs: object = (True, True, True),
) -> tuple[typing.Any, ...]: ...
def bernoulli(
    shape: collections.abc.Sequence[int], p: float | int, seed: int, offset: int, dtype: numpy.dtype
) -> numpy.typing.NDArray[typing.Any]: ...
def binary_cross_entropy_with_logits(
    x: object, target: object, weight: object = None, pos_weight: object = None, reduction: object = "mean"
) -> numpy.typing.NDArray[typing.Any]: ...
def binary_cross_entropy_with_logits_backward(
    dloss: object,
    x: object,
    target: object,
    weight: object = None,
    pos_weight: object = None,
    reduction: object = "mean",
) -> numpy.typing.NDArray[typing.Any]: ...
def build_info() -> dict[str, typing.Any]: ...
def clip_grad_norm(grads: object, max_norm: float | int) -> numpy.typing.NDArray[typing.Any]: ...
def clip_grad_value(grads: object, limit: float | int) -> None: ...
def conv2d(
    x: object,
    weight: object,
    bias: object = None,
    stride: object = 1,
    padding: object = 0,
    dilation: object = 1,
    groups: object = 1,
    activation: str = "none",
) -> numpy.typing.NDArray[typing.Any]: ...
def conv2d_backward_bias(dy: object) -> numpy.typing.NDArray[typing.Any]: ...
def conv2d_backward_input(
    dy: object,
    weight: object,
    input_shape: object,
    stride: object = 1,
    padding: object = 0,
    dilation: object = 1,
    groups: object = 1,
) -> numpy.typing.NDArray[typing.Any]: ...
def conv2d_backward_weight(
    dy: object,
    x: object,
    weight_shape: object,
    stride: object = 1,
    padding: object = 0,
    dilation: object = 1,
    groups: object = 1,
) -> numpy.typing.NDArray[typing.Any]: ...
def cross_entropy(
    x: object,
    target: object,
    weight: object = None,
    ignore_index: int = -100,
    label_smoothing: float | int = 0.0,
    reduction: object = "mean",
) -> tuple[typing.Any, ...]: ...
def cross_entropy_backward(
    dloss: object,
    x: object,
    target: object,
    stats: object,
    total: object,
    weight: object = None,
    ignore_index: int = -100,
    label_smoothing: float | int = 0.0,
    reduction: object = "mean",
) -> numpy.typing.NDArray[typing.Any]: ...
def dropout(x: object, p: float | int, seed: int, offset: int) -> tuple[typing.Any, ...]: ...
def dropout_backward(dy: object, mask: object, p: float | int) -> numpy.typing.NDArray[typing.Any]: ...
def embedding(weight: object, index: object) -> numpy.typing.NDArray[typing.Any]: ...
def embedding_backward(
    dy: object, index: object, rows: int, padding_idx: object = None
) -> numpy.typing.NDArray[typing.Any]: ...
def empty_cache() -> None: ...
def gather_rows(x: object, index: object) -> numpy.typing.NDArray[typing.Any]: ...
def get_num_threads() -> int: ...
def isa_available() -> list[str]: ...
def isa_in_use() -> str: ...
def kernel_names() -> list[str]: ...
def layer_norm(
    x: object, weight: object = None, bias: object = None, eps: float | int = 1e-05, axes: int = 1
) -> tuple[typing.Any, ...]: ...
def layer_norm_backward(
    dy: object,
    x: object,
    mean: object,
    rstd: object,
    weight: object = None,
    axes: int = 1,
    needs: object = (True, True, True),
) -> tuple[typing.Any, ...]: ...
def linear(
    x: object, weight: object, bias: object = None, activation: str = "none", return_preactivation: bool = False
) -> object: ...
def linear_backward(
    dy: object,
    x: object,
    weight: object,
    activation: str = "none",
    saved: object = None,
    needs: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[typing.Any, ...]: ...
def log_softmax(x: object, axis: object = -1) -> numpy.typing.NDArray[typing.Any]: ...
def log_softmax_backward(dy: object, y: object, axis: object = -1) -> numpy.typing.NDArray[typing.Any]: ...
def matmul(
    a: object, b: object, transpose_a: bool = False, transpose_b: bool = False
) -> numpy.typing.NDArray[typing.Any]: ...
def max(x: object, axis: object = None, keepdims: bool = False) -> tuple[typing.Any, ...]: ...
def max_pool2d(
    x: object,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    dilation: object = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
) -> tuple[typing.Any, ...]: ...
def max_pool2d_backward(dy: object, indices: object, input_shape: object) -> numpy.typing.NDArray[typing.Any]: ...
def max_pool2d_gather(x: object, indices: object) -> numpy.typing.NDArray[typing.Any]: ...
def mean(x: object, axis: object = None, keepdims: bool = False) -> numpy.typing.NDArray[typing.Any]: ...
def memory_stats() -> dict[str, typing.Any]: ...
def min(x: object, axis: object = None, keepdims: bool = False) -> tuple[typing.Any, ...]: ...
def mse_loss(x: object, target: object, reduction: object = "mean") -> numpy.typing.NDArray[typing.Any]: ...
def mse_loss_backward(
    dloss: object, x: object, target: object, reduction: object = "mean"
) -> numpy.typing.NDArray[typing.Any]: ...
def normal(
    shape: collections.abc.Sequence[int],
    seed: int,
    offset: int,
    mean: float | int,
    std: float | int,
    dtype: numpy.dtype,
) -> numpy.typing.NDArray[typing.Any]: ...
def philox_block(
    counter: typing.Annotated[collections.abc.Sequence[int], "FixedSize(4)"],
    key: typing.Annotated[collections.abc.Sequence[int], "FixedSize(2)"],
) -> typing.Annotated[list[int], "FixedSize(4)"]: ...
def randint(
    shape: collections.abc.Sequence[int], low: int, high: int, seed: int, offset: int
) -> numpy.typing.NDArray[typing.Any]: ...
def randperm(n: int, seed: int, offset: int) -> numpy.typing.NDArray[typing.Any]: ...
def relu(x: object) -> numpy.typing.NDArray[typing.Any]: ...
def relu_backward(dy: object, y: object) -> numpy.typing.NDArray[typing.Any]: ...
def set_isa(name: str) -> None: ...
def set_num_threads(n: int) -> None: ...
def set_serial_cost(nanoseconds: float | int) -> None: ...
def sgd(
    params: object,
    grads: object,
    buffers: object,
    steps: object,
    lr: float | int,
    momentum: float | int,
    dampening: float | int,
    weight_decay: float | int,
    nesterov: bool,
    maximize: bool,
) -> None: ...
def softmax(x: object, axis: object = -1) -> numpy.typing.NDArray[typing.Any]: ...
def softmax_backward(dy: object, y: object, axis: object = -1) -> numpy.typing.NDArray[typing.Any]: ...
def sum(x: object, axis: object = None, keepdims: bool = False) -> numpy.typing.NDArray[typing.Any]: ...
def testing_costs(threads: int, rounds: int) -> dict[str, typing.Any]: ...
def testing_pool(milliseconds: int) -> None: ...
def testing_set_loop_number(loop: int) -> None: ...
def testing_team(threads: int, loops: int, chunks: int, nap_every: int) -> dict[str, typing.Any]: ...
def testing_usable_cpus(root: str) -> int: ...
def testing_work(milliseconds: int, threads: int, interruptible: bool) -> int: ...
def total_norm(arrays: object) -> numpy.typing.NDArray[typing.Any]: ...
def uniform(
    shape: collections.abc.Sequence[int],
    seed: int,
    offset: int,
    low: float | int,
    high: float | int,
    dtype: numpy.dtype,
) -> numpy.typing.NDArray[typing.Any]: ...
def var_mean(
    x: object, axis: object = None, correction: float | int = 1.0, keepdims: bool = False
) -> tuple[typing.Any, ...]: ...

class Generator:
    def __init__(self, seed: int) -> None: ...
    def get_state(self) -> tuple[int, int]: ...
    def next(self) -> tuple[int, int]: ...
    def set_state(self, seed: int, offset: int) -> None: ...
