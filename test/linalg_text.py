# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Write networks in linalg as text."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def function(arguments: str, result: str, body: str) -> str:
    return f"func.func @forward({arguments}) -> {result} {{\n{body}\n}}\n"


def generic(maps: str, iterators: str, operands: str, body: str) -> str:
    kinds = {"p": '"parallel"', "r": '"reduction"'}
    names = ", ".join(kinds[letter] for letter in iterators)
    head = f"linalg.generic {{indexing_maps = [{maps}], iterator_types = [{names}]}}"
    return f"{head} {operands} {{\n{body}\n}}"


def dense(array: Array) -> str:
    """A constant in the way that torch-mlir prints large ones."""
    kind = "x".join([*map(str, array.shape), "f32"])
    return (
        f'arith.constant dense<"0x{array.astype("<f4").tobytes().hex().upper()}"> : tensor<{kind}>'
    )


def resources(name: str, array: Array) -> str:
    """The end of a file that holds the elements of a constant."""
    data = (4).to_bytes(4, "little") + array.astype("<f4").tobytes()
    return f'{{-# dialect_resources: {{ builtin: {{ {name}: "0x{data.hex().upper()}" }} }} #-}}\n'
