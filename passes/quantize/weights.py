# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Finding and replacing the weight matrices of a module; shared by the `spaq` passes."""

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any, cast

from numpy.typing import NDArray
from xdsl.dialects.builtin import AnyFloat, Float32Type, IntegerType, ModuleOp, f32, i8
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation
from xdsl.pattern_rewriter import PatternRewriter
from xdsl.rewriter import InsertPoint, Rewriter

from daqkf.dialects.dense import from_array
from daqkf.dialects.spaq import AddOp, ConstantOp, EncodingAttr, LevelsAttr, LevelSet, MatmulOp
from daqkf.dialects.spaq.ops import chain, defining_constant
from daqkf.hw_targets.semirings import Semiring


def products(module: ModuleOp) -> Iterator[tuple[MatmulOp, ConstantOp]]:
    """Every product by a constant matrix, with that constant, in the order of the IR."""
    found = [op for op in module.walk() if isinstance(op, MatmulOp)]
    for matmul in found:
        constant = defining_constant(matmul.weights)
        if constant is not None:
            yield matmul, constant


def named_matrices(module: ModuleOp) -> dict[str, ConstantOp]:
    """Every constant matrix of a product, once, by a name like `layer.weights`.

    That is the function's name and the value's; a number follows if it is taken already.
    Other semirings' are left out: what is absent there is not what is zero.
    """
    names: dict[ConstantOp, str] = {}
    for matmul, constant in products(module):
        if constant in names or matmul.semiring.data is not Semiring.PLUS_TIMES:
            continue
        function = constant.parent_op()
        while function is not None and not isinstance(function, FuncOp):
            function = function.parent_op()
        parts = function and function.sym_name.data, constant.result.name_hint or "weights"
        name = base = ".".join(part for part in parts if part)
        suffixes = count(1)
        while name in names.values():
            name = f"{base}.{next(suffixes)}"
        names[constant] = name
    return {name: constant for constant, name in names.items()}


def float_products(module: ModuleOp) -> Iterator[tuple[MatmulOp, ConstantOp]]:
    """The products whose weights are still f32."""
    for matmul, constant in products(module):
        if isinstance(constant.value.get_element_type(), Float32Type):
            yield matmul, constant


def integer_weights(modules: Iterable[ModuleOp]) -> list[NDArray[Any]]:
    """The int8 weights [K, N] of all products, as the array gets them."""
    return [
        constant.array()
        for module in modules
        for _, constant in products(module)
        if constant.value.get_element_type() == i8
    ]


LEVELS = LevelsAttr.name
"""Attribute of a float product that states the level set its weights are to have."""


def stated_levels(matmul: MatmulOp) -> LevelSet | None:
    """The level set that `spaq-select-levels` stated for a float product, if it did.

    Raises:
        ValueError: the attribute is no level set.
    """
    attribute = matmul.attributes.get(LEVELS)
    if attribute is None:
        return None
    if not isinstance(attribute, LevelsAttr):
        raise ValueError(f"'{LEVELS}' of a product must be #{LEVELS}<...>, not {attribute}")
    return attribute.data


def bias_add(matmul: MatmulOp) -> AddOp | None:
    """The operation that adds a constant to a product alone, if one does."""
    (add,) = chain(matmul, (AddOp,)) or (None,)
    return add if isinstance(add, AddOp) and defining_constant(add.bias) is not None else None


def bias_of(matmul: MatmulOp) -> ConstantOp | None:
    """The constant that is added to a product alone, if one is."""
    add = bias_add(matmul)
    return None if add is None else defining_constant(add.bias)


def put_bias(matmul: MatmulOp, bias: NDArray[Any]) -> None:
    """Let a bias [N] of f32 be what is added to a product alone, in place of another, if any is."""
    old = bias_of(matmul)
    if old is not None:
        replace_constant(old, bias, None)
        return
    product = matmul.result
    constant = ConstantOp(from_array(bias, f32))
    add = AddOp(product, constant.result)
    Rewriter.insert_op([constant, add], InsertPoint.after(matmul))
    product.replace_uses_with_if(add.result, lambda use: use.operation is not add)


def own_constant(op: Operation, index: int, rewriter: PatternRewriter) -> ConstantOp:
    """The constant of an operand; a copy of it takes its place if something else reads it too."""
    constant = defining_constant(op.operands[index])
    assert constant is not None
    if constant.result.has_one_use():
        return constant
    copy = constant.clone()
    copy.result.name_hint, copy.location = constant.result.name_hint, constant.location
    rewriter.insert(copy, InsertPoint.after(constant))
    op.operands[index] = copy.result
    return copy


def replace_constant(
    constant: ConstantOp,
    array: NDArray[Any],
    encoding: EncodingAttr | None,
    rewriter: PatternRewriter | None = None,
) -> ConstantOp:
    """Put `array`, in the constant's element type, in place of its values and encoding.

    `rewriter` is that of the pattern that does so, if it is one.
    """
    kind = cast(IntegerType | AnyFloat, constant.value.get_element_type())
    new = ConstantOp(from_array(array, kind, encoding), constant.scales)
    new.result.name_hint, new.location = constant.result.name_hint, constant.location
    (rewriter or PatternRewriter(constant)).replace(constant, new)
    return new
