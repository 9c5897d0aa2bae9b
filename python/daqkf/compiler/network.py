# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""From a network's file to a `CompiledNetwork`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    IntegerAttr,
    IntegerType,
    ModuleOp,
    TensorType,
    i64,
)
from xdsl.dialects.func import FuncOp
from xdsl.interpreter import Interpreter, PythonValues
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.traits import SymbolTable
from xdsl.utils.exceptions import DiagnosticException, InterpretationError

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.design import run_passes
from daqkf.compiler.formats import load_network
from daqkf.compiler.pipelines import LOWER
from daqkf.compiler.products import attention_requirement, product_requirement
from daqkf.dialects.dfke import ChainOp, KernelOp
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn import AttentionOp, GatherOp, LinearOp, ProductOp
from daqkf.dialects.nn.interpreter import tokens_of
from daqkf.dialects.nn.ops import attends
from daqkf.dialects.rpea import ArrayOp
from daqkf.dialects.spaq import LevelSet, SequenceOperation
from daqkf.dialects.spaq.interpreter import split_sequences
from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import NORMALIZED_FEATURES
from daqkf.lowering.conversions.dfke_to_rpea import required_config, shared_config
from daqkf.passes.dfke_schedule import DfkeSchedulePass
from daqkf.passes.nn_attend import NnAttendPass
from daqkf.passes.nn_attention import quantize_attention
from daqkf.passes.nn_chain import NnChainPass
from daqkf.passes.nn_gate import NnGatePass
from daqkf.passes.nn_merge import NnMergePass
from daqkf.passes.nn_normalize import NnNormalizePass
from daqkf.passes.nn_product import Inputs, in_order, input_names, quantize_products
from daqkf.passes.quantize.samples import Samples, rows_of
from daqkf.passes.spaq_calibrate import calibrate
from daqkf.passes.spaq_prune import prune
from daqkf.passes.spaq_quantize import SpaqQuantizePass
from daqkf.support.errors import DaqkfError, describe

Progress = Callable[[str], None]
"""Told of each step."""

_DRAWN = 16
"""What extents that the file leaves open are in inputs that are drawn, but for a leading one."""

_DRAWN_BATCH, _DRAWN_ROWS = 2, 256
"""A leading one: of batches, and of rows [T, K]."""

_TOKENS = 128
"""Of the longest sequence, if nothing says."""

_ROWS = 2048
"""Rows of a kernel's inputs that are kept to calibrate on."""


@dataclass
class _Rows(Interpreter.Listener):
    """What the kernels read: rows, or sequences of them."""

    rows: dict[str, list[NDArray[np.float32]]] = field(
        default_factory=dict[str, list[NDArray[np.float32]]]
    )

    def will_interpret_op(self, op: Operation, args: PythonValues) -> None:
        if not isinstance(op, LinearOp):
            return
        function = SymbolTable.lookup_symbol(op, op.callee)
        assert isinstance(function, FuncOp)
        x = np.asarray(args[0].reshape(-1, args[0].shape[-1]), np.float32)
        kept = self.rows.setdefault(op.callee.root_reference.data, [])
        if attends(function):
            there, lengths = tokens_of(*args)
            kept += split_sequences(x[there], lengths)
        else:
            kept.append(x)


def compile_network(
    source: str | Path | ModuleOp,
    *,
    calibration: Inputs | None = None,
    sparsity: float | None = None,
    levels: LevelSet,
    split: float = 0.02,
    target: str = "generic",
    fuse: bool = True,
    host_cycles: float = 4.0,
    products: bool = False,
    attention_levels: int = 31,
    second_order: bool | None = None,
    max_tokens: int | None = None,
    progress: Progress = lambda name: None,
) -> CompiledNetwork:
    """Compile a whole network for one array; the host runs what is not a kernel.

    Args:
        source: a file that `load_network` reads, or its module of `nn`.
        calibration: the network's inputs by name, to find the ranges of int8 on. Without it,
            random ones: whole numbers that index something below its extent, ones for other whole
            numbers, else a standard normal distribution.
        sparsity: prune every kernel to this share of zeros first.
        levels: the level set of all weights.
        split: extra int8 columns for features of large range, as a share; see `daqkf.compile`.
        target: a target's name, or a .toml file.
        fuse: merge kernels of the same activations, chain those that follow one another, and
            gate and normalise on the array where that pays.
        host_cycles: the array's cycles in which the host gates, or adds and normalises, one value.
        products: compute attention on the array, too: with its softmax where the target has a unit
            for that and it pays, else its products; and other products of activations.
        attention_levels: the largest level of attention's keys and values; 31 keep the cosine of
            MiniLM's embeddings at .998, 127 at .9996, for more words of streams.
        second_order: prune and round on the calibration data; by default where that has two rows
            for each feature.
        max_tokens: the longest sequence that attention and products are made for; by default 128,
            and where the whole attention is the array's, the longest one of the calibration.
        progress: told of each step.

    Raises:
        DaqkfError: a file that cannot be read or has something unsupported, inputs that do not
            fit, or kernels that do not fit the target.
    """
    try:
        machine = load_target(target).machine
        progress("read")
        network = source.clone() if isinstance(source, ModuleOp) else load_network(source)
        most = max_tokens or _TOKENS
        fusing: list[ModulePass | str] = [
            NnGatePass(target, host_cycles),
            *([NnAttendPass(target, max_tokens or machine.lanes)] if products else []),
            NnMergePass(target),
            NnChainPass(target),
            NnNormalizePass(target, host_cycles),
            NnChainPass(target),
        ]
        progress("cut out kernels")
        cutting = ["canonicalize", "nn-dequantize", "nn-raise", "nn-outline"]
        run_passes(network, [*cutting, *(fusing if fuse else [])])
        function = entry(network)
        _set_tokens(network, NORMALIZED_FEATURES)
        given = calibration is not None
        if calibration is None:
            calibration = drawn_inputs(function)
        listener = _Rows()
        progress("calibrate")
        call(network, function, in_order(function, calibration), (listener,))
        if products:
            quantize_attention(network, calibration, machine, host_cycles, attention_levels)
            quantize_products(network, calibration)
        kernels = [op for op in network.ops if isinstance(op, FuncOp) and op is not function]
        if not kernels and not products:
            raise ValueError("the network has no product of constant weights for an array")
        for kernel in kernels:
            name = kernel.sym_name.data
            progress(f"quantise {name}")
            rows = _sample(listener.rows[name], attends(kernel))
            module = _quantized(kernel, rows, sparsity, levels, split, second_order, machine)
            (integer,) = (op for op in module.ops if isinstance(op, FuncOp))
            integer.detach()
            Rewriter.replace_op(kernel, integer)
        _set_tokens(network, most)
        if given and max_tokens is None:
            for name, rows in listener.rows.items():
                _set_tokens(network, max(map(len, rows)), name)
        network.verify()
        progress("schedule")
        arrays = _arrays(network, target, fuse, most)
    except (DiagnosticException, InterpretationError, ValueError, OSError) as error:
        raise DaqkfError(describe(error)) from None
    return CompiledNetwork(network, arrays, target)


def _set_tokens(network: ModuleOp, most: int, kernel: str | None = None) -> None:
    """Say what the longest sequence of the kernels is, or of one of them."""
    for function in [op for op in network.ops if isinstance(op, FuncOp)]:
        for op in function.body.block.ops:
            if isinstance(op, SequenceOperation) and kernel in (None, function.sym_name.data):
                op.tokens = IntegerAttr(most, i64)


def _sample(rows: Sequence[NDArray[np.float32]], sequences: bool) -> Samples:
    """At most about `_ROWS` rows, evenly spread, or whole sequences of them."""
    every = -(-sum(map(len, rows)) // _ROWS)
    return list(rows[::every]) if sequences else np.concatenate(rows)[::every]


def _quantized(
    kernel: FuncOp,
    rows: Samples,
    sparsity: float | None,
    levels: LevelSet,
    split: float,
    second_order: bool | None,
    machine: Any,
) -> ModuleOp:
    """A kernel as exact integers, in a module of its own."""
    module = ModuleOp([kernel.clone()])
    if second_order is None:
        whole, _ = rows_of(rows)
        second_order = len(whole) >= 2 * whole.shape[1]
    samples = rows if second_order else None
    if sparsity is not None:
        prune(module, sparsity, samples)
    calibrate(module, rows)
    run_passes(module, ["spaq-analyze"])
    quantize = SpaqQuantizePass(
        levels.kind, levels.magnitudes, levels.maximum, max_shift=machine.max_shift, split=split
    )
    quantize.quantize(module, samples)
    module.verify()
    return module


def _arrays(network: ModuleOp, target: str, fuse: bool, max_tokens: int) -> ModuleOp:
    """The kernels as programs of one array."""
    main = entry(network)
    module = ModuleOp([op.clone() for op in network.ops if op is not main])
    passes = ["dfke-fuse", "dfke-specialize-bitwidth", DfkeSchedulePass(target, tile=True)]
    run_passes(module, [*passes, *(["dfke-chain"] if fuse else [])])
    machine = load_target(target).machine
    wanted: list[ArrayConfig] = []
    for op in main.walk():
        if isinstance(op, ProductOp):
            features, outputs = (
                max_tokens if extent == DYNAMIC_INDEX else extent
                for extent in _extents(op.rhs)[-2:]
            )
            wanted.append(product_requirement(features, outputs, machine))
    attentions = [op for op in main.walk() if isinstance(op, AttentionOp)]
    wanted += attention_requirement(attentions, max_tokens, machine)
    if wanted:
        runnable = [
            op
            for op in module.walk()
            if isinstance(op, KernelOp | ChainOp) and not isinstance(op.parent_op(), ChainOp)
        ]
        config = shared_config([*(required_config(op) for op in runnable), *wanted])
        Rewriter.insert_op(ArrayOp("array", config), InsertPoint.at_start(module.body.block))
    run_passes(module, LOWER)
    return module


def _extents(value: SSAValue) -> tuple[int, ...]:
    if not isinstance(value.type, TensorType):
        raise ValueError("a product's operand has no rank; it cannot run on the array")
    return value.type.get_shape()


def drawn_inputs(function: FuncOp, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Random inputs of a network, by name; see `compile_network`."""
    rng = np.random.default_rng(seed)
    inputs: dict[str, NDArray[Any]] = {}
    for name, argument in zip(input_names(function), function.body.block.args, strict=True):
        extents = _extents(argument)
        rows = len(extents) == 2 and extents[1] != DYNAMIC_INDEX
        leading = _DRAWN_ROWS if rows else _DRAWN_BATCH
        shape = [
            extent if extent != DYNAMIC_INDEX else (_DRAWN if axis else leading)
            for axis, extent in enumerate(extents)
        ]
        assert isinstance(argument.type, TensorType)
        kind = argument.type.element_type
        if not isinstance(kind, IntegerType):
            inputs[name] = rng.standard_normal(shape).astype(np.float32)
            continue
        gathers = [
            use.operation
            for use in argument.uses
            if isinstance(use.operation, GatherOp) and use.index == 1
        ]
        if gathers:
            extent = min(_extents(op.input)[op.axis.value.data] for op in gathers)
            inputs[name] = rng.integers(0, max(extent, 1), shape)
        else:
            inputs[name] = np.ones(shape, np.int64 if kind.width.data > 1 else bool)
    return inputs
