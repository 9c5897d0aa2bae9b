# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Programs that are made at run time, of activations: right sides of products, and attention."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import FunctionType, IntegerAttr, ModuleOp, i8, i32, i64
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, Region
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.utils.exceptions import VerifyException

from daqkf.compiler.design import run_passes
from daqkf.compiler.pipelines import LOWER
from daqkf.dialects.dense import from_array
from daqkf.dialects.dfke import KernelOp
from daqkf.dialects.diagnostics import verify
from daqkf.dialects.nn.attention import IntegerAttention, Operands
from daqkf.dialects.nn.causal_attention import CausalAttentionOp
from daqkf.dialects.rpea import ArrayOp, ChainOp, ProgramOp, SoftmaxOp
from daqkf.dialects.spaq import AddOp, ConstantOp, MatmulOp, RequantizeOp
from daqkf.dialects.spaq.attention import Factors
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets.config import ArrayConfig, memory_depth
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.numerics import LEVEL_MAX
from daqkf.lowering.conversions.config_sizing import (
    required_config,
    shared_config,
    softmax_chain_config,
)
from daqkf.lowering.conversions.dfke_to_rpea import ARRAY_NAME, lower_kernel
from daqkf.lowering.conversions.separate_columns import (
    SeparateColumns,
    most_stream_words,
    separable,
)
from daqkf.lowering.image.encode import encode, playable
from daqkf.passes.dfke_schedule import schedule


def product_kernel(
    levels: NDArray[np.int8],
    factors: Factors,
    machine: Machine,
    bias: NDArray[np.int64] | None = None,
) -> ModuleOp:
    """A scheduled kernel of int8 [T, K] → int8 [T, N] with these weights [K, N] and bias [N]."""
    features, channels = levels.shape
    block = Block(arg_types=[activations(features, i8)])
    weights = ConstantOp(from_array(levels, i8))
    sums: Operation = MatmulOp(block.args[0], weights.result, activations(channels, i32))
    block.add_ops([weights, sums])
    if bias is not None:
        constant = ConstantOp(from_array(bias, i32))
        sums = AddOp(sums.results[0], constant.result)
        block.add_ops([constant, sums])
    result = RequantizeOp(
        sums.results[0], from_array(factors.multipliers, i32), from_array(factors.shifts, i32)
    )
    block.add_ops([result, ReturnOp(result.result)])
    kind = FunctionType.from_lists(list(block.arg_types), [result.result.type])
    module = ModuleOp([FuncOp("product", kind, Region(block))])
    run_passes(module, ["dfke-fuse", "dfke-specialize-bitwidth"])
    _kernel_of(module).schedule = schedule(levels, machine)
    return module


def _kernel_of(module: ModuleOp) -> KernelOp:
    return next(op for op in module.walk() if isinstance(op, KernelOp))


def product_image(
    levels: NDArray[np.int8], factors: tuple[int, int], config: ArrayConfig, machine: Machine
) -> bytes:
    """The image of a product's right side [K, N] for an array.

    Raises:
        ValueError: it does not fit the array.
    """
    ones = np.ones(levels.shape[1], np.int64)
    module = product_kernel(levels, Factors(factors[0] * ones, factors[1] * ones), machine)
    Rewriter.insert_op(ArrayOp(ARRAY_NAME, config), InsertPoint.at_start(module.body.block))
    run_passes(module, LOWER)
    return encode(playable(module)[-1])


def attention_image(
    op: IntegerAttention,
    operands: Operands,
    config: ArrayConfig,
    machine: Machine,
    columns: SeparateColumns | None = None,
) -> bytes:
    """The image of a sequence's attention for an array: a chain of scores, softmax and results.

    Activations are the queries of all heads side by side, and so are scores. Each head's products
    have weights of its own features alone; what is zero takes no room.

    If attention is causal, `columns` keep the words of keys, so that those of earlier tokens need
    not be made again. The words of a channel of values are in the order of levels, in which a new
    token may stand anywhere, so that they are made for each program.

    Raises:
        ValueError: it does not fit the array.
    """
    keys = operands.keys.shape[2]
    factors = op.channel_factors(keys)
    products = {
        "scores": (_side_by_side(operands.keys), factors["scores"]),
        "context": (_side_by_side(operands.values), factors["results"]),
    }
    parts: list[ProgramOp] = []
    for name, (levels, own) in products.items():
        if columns is not None and isinstance(op, CausalAttentionOp):
            parts.append(columns.program(name, ARRAY_NAME, levels, own, keep=name == "scores"))
            continue
        bias = operands.bias.reshape(-1) if name == "scores" else None
        kernel = _kernel_of(product_kernel(levels, own, machine, bias))
        parts.append(lower_kernel(kernel, name, ARRAY_NAME, config))
    counts, seen = {"keys": keys}, op.seen(operands)
    if seen[0]:
        counts |= dict(zip(("queries", "past"), seen, strict=True))
    shares = SoftmaxOp(
        "shares",
        ARRAY_NAME,
        **{name: IntegerAttr(count, i64) for name, count in counts.items()},
        table=op.table,
        offset=from_array(operands.offset.reshape(-1), i32),
        multiplier=from_array(factors["shares"].multipliers, i32),
        shift=from_array(factors["shares"].shifts, i32),
    )
    chain = ChainOp("attention", [parts[0], shares, parts[1]])
    module = ModuleOp([ArrayOp(ARRAY_NAME, config), parts[0], shares, parts[1], chain])
    try:
        verify(module)
    except VerifyException as error:
        raise ValueError(str(error)) from None
    return encode(chain)


def _side_by_side(weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """Weights of heads [H, K, N] as those of all of them, [H·K, H·N]."""
    heads, features, channels = weights.shape
    whole = np.zeros((heads, features, heads, channels), np.int8)
    every = np.arange(heads)
    whole[every, :, every] = weights
    return whole.reshape(heads * features, heads * channels)


def product_requirement(features: int, outputs: int, machine: Machine) -> ArrayConfig:
    """The array that any product of this size fits.

    Sums are widest where all weights are; streams are longest where no two magnitudes are the
    same, and none is zero.
    """
    ones = np.ones(outputs, np.int64)
    return shared_config(
        [
            required_config(_kernel_of(product_kernel(levels, Factors(ones, ones), machine)))
            for levels in _worst(features, outputs, LEVEL_MAX)
        ]
    )


def attention_requirement(
    ops: Sequence[IntegerAttention], most: int, machine: Machine
) -> list[ArrayConfig]:
    """Arrays that the attentions of any sequences of at most so many keys fit.

    Raises:
        ValueError: the target cannot hold one, or its heads' features are not known.
    """
    alike: dict[tuple[int, ...], list[IntegerAttention]] = {}
    for op in ops:
        causal = isinstance(op, CausalAttentionOp)
        if causal and not machine.causal:
            raise ValueError("attention is causal, and the target has no unit for such a softmax")
        alike.setdefault((*op.extents(most), op.levels.value.data, causal), []).append(op)
    found: list[ArrayConfig] = []
    for (heads, features, keys, levels, causal), group in alike.items():
        bias = np.repeat(np.max([op.most_bias() for op in group], axis=0), keys)
        for wide in range(2):
            kernels: list[KernelOp] = []
            for rows, columns, added in ((features, keys, bias), (keys, features, None)):
                own = _worst(rows, columns, levels)[wide]
                whole = _side_by_side(np.stack([own] * heads))
                ones = np.ones(heads * columns, np.int64)
                module = product_kernel(whole, Factors(ones, ones), machine, added)
                kernels.append(_kernel_of(module))
            config = softmax_chain_config(kernels, heads * keys, bool(causal))
            if causal and separable(machine) and not machine.memory_bits:
                products = (features, heads * keys, levels), (keys, heads * features, levels)
                config = _with_streams(config, most_stream_words(machine, products), machine)
            found.append(config)
    return found


def _with_streams(config: ArrayConfig, words: int, machine: Machine) -> ArrayConfig:
    """The array, with room for streams of so many words.

    Raises:
        ValueError: the target has less.
    """
    if words > machine.stream_depth:
        raise ValueError(
            f"attention takes up to {words} stream words of a PE; the target holds at most "
            f"{machine.stream_depth}: fewer max_tokens or attention_levels take less"
        )
    return replace(config, stream_depth=max(config.stream_depth, memory_depth(words)))


def _worst(features: int, outputs: int, most: int) -> list[NDArray[np.int8]]:
    """Weights [K, N] that take the most words, and those that reach the largest sums."""
    magnitudes = 1 + np.arange(features * outputs).reshape(outputs, features).T % most
    signs = 1 - 2 * (np.arange(features) % 2)
    spread = (magnitudes * signs[:, np.newaxis]).astype(np.int8)
    return [spread, np.full((features, outputs), most, np.int8)]
