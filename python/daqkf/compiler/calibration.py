# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Calibration data of a network, given or drawn, and the rows that its kernels read of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DYNAMIC_INDEX, IntegerType, ModuleOp, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.interpreter import Interpreter, PythonValues
from xdsl.ir import Operation, SSAValue
from xdsl.traits import SymbolTable

from daqkf.dialects.errors import from_extra
from daqkf.dialects.nn import GatherOp, LinearOp, OnnxType, TransposeOp
from daqkf.dialects.nn.base import integers_of
from daqkf.dialects.nn.decoders import CachedOperation
from daqkf.dialects.nn.interpreter import tokens_of
from daqkf.dialects.nn.ops import attends
from daqkf.dialects.spaq.interpreter import split_sequences
from daqkf.passes.nn_product import Inputs, in_parts, input_names
from daqkf.passes.quantize.network_statistics import independent
from daqkf.passes.quantize.samples import Samples
from daqkf.support.errors import shortened, warn_of_drawn_calibration

_DRAWN = 16
"""What extents that the file leaves open are in inputs that are drawn, but for a leading one."""

_DRAWN_BATCH, _DRAWN_ROWS = 2, 256
"""A leading one: of batches, and of rows [T, K]."""

_TOKENS = 3
"""The axis of tokens in [..., S, G, D], from the end."""

ROWS = 2048
"""Rows of a kernel's inputs that are kept to calibrate on."""

ROWS_OF_WINDOWS = 1 << 14
"""Those of one whose rows are scaled: a sample of a convolution has many, so more are kept."""

HELD_OUT = 7
"""Accuracy is measured on every seventh sample, which nothing is fitted to."""


@dataclass
class KernelRows(Interpreter.Listener):
    """What the kernels read: rows, or sequences of them."""

    rows: dict[str, list[NDArray[np.float32]]] = field(
        default_factory=dict[str, list[NDArray[np.float32]]]
    )
    most: int | None = None
    """How many rows are kept of what a kernel reads at a time, if it does not attend."""

    def will_interpret_op(self, op: Operation, args: PythonValues) -> None:
        """Keep what a kernel is about to read."""
        if not isinstance(op, LinearOp):
            return
        function = SymbolTable.lookup_symbol(op, op.callee)
        assert isinstance(function, FuncOp)
        x = np.asarray(args[0].reshape(-1, args[0].shape[-1]), np.float32)
        kept = self.rows.setdefault(op.callee.root_reference.data, [])
        if attends(function):
            there, lengths = tokens_of(*args)
            kept += split_sequences(x[there], lengths)
        elif self.most is None or len(x) <= self.most:
            kept.append(x)
        else:
            kept.append(x[:: -(-len(x) // self.most)].copy())


def given(function: FuncOp, calibration: Any) -> list[Inputs]:
    """Calibration data of a network as batches by name, as it takes them.

    Args:
        function: the network.
        calibration: inputs by name, or several batches of them; or an array, or what NumPy can make
            one of, for a network of one input.

    Raises:
        ValueError: there are no batches, or they are of another kind.
    """
    return [part for batch in _batches(function, calibration) for part in in_parts(function, batch)]


def _batches(function: FuncOp, calibration: Any) -> list[Inputs]:
    """Calibration data by name, as they are given."""
    if isinstance(calibration, Mapping):
        return [calibration]
    several = isinstance(calibration, Sequence) and not isinstance(calibration, str)
    named = [isinstance(batch, Mapping) for batch in calibration] if several else [False]
    if all(named):
        if not named:
            raise ValueError("calibration has no batches")
        return list(calibration)
    names = input_names(function)
    if len(names) == 1 and (several or hasattr(calibration, "__array__")) and not any(named):
        try:
            return [{names[0]: np.asarray(calibration)}]
        except ValueError:  # of lists of different lengths
            pass
    raise ValueError(
        f"calibration of a network is arrays by name ({', '.join(names)}), or batches of them, not "
        f"{shortened(calibration)}"
    )


def hold_out(
    network: ModuleOp, samples: Sequence[Inputs], every: int = HELD_OUT
) -> tuple[list[Inputs], list[Inputs]]:
    """What kernels are fitted to, and what accuracy is measured on: every so-many-th sample.

    Where all samples of a batch meet one another, it is every so-many-th batch. Too few of them are
    used for both.
    """
    fitted: list[Inputs] = []
    held: list[Inputs] = []
    count = 0
    for batch, apart in zip(samples, independent(network, samples), strict=True):
        if not apart:
            fitted.append(batch)
            continue
        length = len(next(iter(batch.values())))
        place = (count + np.arange(length)) % every == every - 1
        count += length
        for part, chosen in ((fitted, ~place), (held, place)):
            if chosen.any():
                part.append({name: np.asarray(value)[chosen] for name, value in batch.items()})
    if not held:
        held = fitted[every - 1 :: every]
        del fitted[every - 1 :: every]
    return fitted, held


def sample(rows: Sequence[NDArray[np.float32]], sequences: bool, most: int = ROWS) -> Samples:
    """At most about so many rows, evenly spread, or whole sequences of them."""
    every = -(-sum(map(len, rows)) // most)
    return list(rows[::every]) if sequences else np.concatenate(rows)[::every]


def drawn(function: FuncOp) -> list[Inputs]:
    """A batch that is drawn for want of a better one, with a warning."""
    warn_of_drawn_calibration()
    return [drawn_inputs(function)]


def drawn_inputs(function: FuncOp, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Random inputs of a network, by name; see `compile_network`."""
    rng = np.random.default_rng(seed)
    inputs: dict[str, NDArray[Any]] = {}
    for name, argument in zip(input_names(function), function.body.block.args, strict=True):
        extents = extents_of(argument)
        rows = len(extents) == 2 and extents[1] != DYNAMIC_INDEX
        leading = _DRAWN_ROWS if rows else _DRAWN_BATCH
        shape = [
            extent if extent != DYNAMIC_INDEX else (_DRAWN if axis else leading)
            for axis, extent in enumerate(extents)
        ]
        past = _past_tokens(argument)
        if past is not None and extents[past] == DYNAMIC_INDEX:
            shape[past] = 0
        assert isinstance(argument.type, TensorType)
        kind = argument.type.element_type
        if isinstance(kind, OnnxType):
            inputs[name] = _drawn_as(name, kind, rng.standard_normal(shape))
            continue
        if not isinstance(kind, IntegerType):
            inputs[name] = rng.standard_normal(shape).astype(np.float32)
            continue
        gathers = [
            use.operation
            for use in argument.uses
            if isinstance(use.operation, GatherOp) and use.index == 1
        ]
        if gathers:
            extent = min(extents_of(op.input)[op.axis.value.data] for op in gathers)
            inputs[name] = rng.integers(0, max(extent, 1), shape)
        else:
            inputs[name] = np.ones(shape, np.int64 if kind.width.data > 1 else bool)
    return inputs


def _past_tokens(argument: SSAValue) -> int | None:
    """The axis of tokens of an input that is the past of attention, or that a past is turned from.

    Before a text there are none.
    """
    rank = len(extents_of(argument))
    for use in argument.uses:
        op = use.operation
        if isinstance(op, CachedOperation) and argument in _past(op):
            return rank - _TOKENS
        if isinstance(op, TransposeOp):
            for inner in op.result.uses:
                reader = inner.operation
                if isinstance(reader, CachedOperation) and op.result in _past(reader):
                    return integers_of(op.axes)[rank - _TOKENS]
    return None


def _past(op: CachedOperation) -> tuple[SSAValue, SSAValue]:
    return op.past_keys, op.past_values


def _drawn_as(name: str, kind: OnnxType, values: NDArray[Any]) -> NDArray[Any]:
    """Values in elements that `nn` computes nothing in."""
    with from_extra("onnx"):
        from onnx import TensorProto, helper

    if "float" not in kind.text.data:
        text = f"nothing can be drawn for the input '{name}' of {kind.text.data}"
        raise ValueError(f"{text}: give calibration data")
    code = TensorProto.DataType.Value(kind.text.data.upper())
    return values.astype(helper.tensor_dtype_to_np_dtype(code))


def extents_of(value: SSAValue) -> tuple[int, ...]:
    """The extents of a tensor.

    Raises:
        ValueError: it has no rank.
    """
    if not isinstance(value.type, TensorType):
        raise ValueError(f"the extents of {value.name_hint or 'a value'} are not known")
    return value.type.get_shape()
