# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Finding and replacing the weight matrices of a module; shared by the `spaq` passes."""

from collections.abc import Iterator

from numpy.typing import NDArray
from xdsl.dialects.builtin import Float32Type, ModuleOp
from xdsl.rewriter import Rewriter

from daqkf.dialects.dense import from_array
from daqkf.dialects.spaq import ConstantOp, EncodingAttr, MatmulOp
from daqkf.dialects.spaq.ops import defining_constant


def products(module: ModuleOp) -> Iterator[tuple[MatmulOp, ConstantOp]]:
    """Every product by a constant matrix, with that constant, in the order of the IR."""
    found = [op for op in module.walk() if isinstance(op, MatmulOp)]
    for matmul in found:
        constant = defining_constant(matmul.weights)
        if constant is not None:
            yield matmul, constant


def float_products(module: ModuleOp) -> Iterator[tuple[MatmulOp, ConstantOp]]:
    """The products whose weights are still f32."""
    for matmul, constant in products(module):
        if isinstance(constant.value.get_element_type(), Float32Type):
            yield matmul, constant


def replace_constant(
    constant: ConstantOp, array: NDArray, encoding: EncodingAttr | None
) -> ConstantOp:
    """Put `array`, in the constant's element type, in place of its values and encoding."""
    kind = constant.value.get_element_type()
    new = ConstantOp(from_array(array, kind, encoding), constant.scales)  # pyright: ignore
    new.result.name_hint = constant.result.name_hint
    Rewriter.replace_op(constant, new)
    return new
