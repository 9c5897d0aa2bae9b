# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Programs that are made at run time, of activations: the right side of a product."""

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import FunctionType, ModuleOp, i8, i32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region
from xdsl.rewriter import InsertPoint, Rewriter

from daqkf.design import run_passes
from daqkf.dialects.dense import from_array
from daqkf.dialects.dfke import KernelOp, Machine
from daqkf.dialects.rpea import ArrayConfig, ArrayOp
from daqkf.dialects.spaq import ConstantOp, MatmulOp, RequantizeOp
from daqkf.dialects.spaq.numerics import LEVEL_MAX
from daqkf.dialects.spaq.ops import activations
from daqkf.lowering.lower_dfke_to_rpea import required_config
from daqkf.lowering.program_image import encode, playable
from daqkf.passes.dfke_schedule import schedule
from daqkf.pipelines import LOWER


def product_kernel(
    levels: NDArray[np.int8], factors: tuple[int, int], machine: Machine
) -> ModuleOp:
    """A scheduled kernel of int8 [T, K] → int8 [T, N] with these weights [K, N]."""
    features, channels = levels.shape
    multiplier, shift = factors
    block = Block(arg_types=[activations(features, i8)])
    weights = ConstantOp(from_array(levels, i8))
    product = MatmulOp(block.args[0], weights.result, activations(channels, i32))
    result = RequantizeOp(
        product.result,
        from_array(np.full(channels, multiplier), i32),
        from_array(np.full(channels, shift), i32),
    )
    block.add_ops([weights, product, result, ReturnOp(result.result)])
    kind = FunctionType.from_lists(list(block.arg_types), [result.result.type])
    module = ModuleOp([FuncOp("product", kind, Region(block))])
    run_passes(module, ["dfke-fuse", "dfke-specialize-bitwidth"])
    for kernel in (op for op in module.walk() if isinstance(op, KernelOp)):
        kernel.schedule = schedule(kernel.parts().weights.array(), machine)
    return module


def product_program(
    levels: NDArray[np.int8], factors: tuple[int, int], config: ArrayConfig, machine: Machine
) -> bytes:
    """The image of a product's right side [K, N] for an array.

    Raises:
        ValueError: it does not fit the array.
    """
    module = product_kernel(levels, factors, machine)
    Rewriter.insert_op(ArrayOp("array", config), InsertPoint.at_start(module.body.block))
    run_passes(module, LOWER)
    return encode(playable(module)[-1])


def product_requirement(features: int, outputs: int, machine: Machine) -> ArrayConfig:
    """The array that any product of this size fits.

    Sums are widest where all weights are; streams are longest where no two magnitudes are the
    same, and none is zero.
    """
    magnitudes = 1 + np.arange(features * outputs).reshape(outputs, features).T % LEVEL_MAX
    signs = 1 - 2 * (np.arange(features) % 2)
    spread = (magnitudes * signs[:, np.newaxis]).astype(np.int8)
    widest = np.full((features, outputs), LEVEL_MAX, np.int8)
    found: list[ArrayConfig] = []
    for levels in (spread, widest):
        module = product_kernel(levels, (1, 1), machine)
        kernel = next(op for op in module.walk() if isinstance(op, KernelOp))
        found.append(required_config(kernel))
    return ArrayConfig(
        **{
            name: max(getattr(config, name) for config in found)
            for name in ArrayConfig.__dataclass_fields__
        }
    )
