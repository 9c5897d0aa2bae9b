# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A second interpreter of the integer operations of `spaq`, in Python's integers.

It is written from the descriptions of the operations (docs/, the RATIONALE.md of the dialects) and
shares no code with `hw_targets.numerics` nor with the interpreters: values are lists of rows of
numbers, constants are read by xDSL. It takes its time, and is for small modules.
"""

import math
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, IntegerAttr, IntegerType, ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation, SSAValue

Rows = list[list[Any]]
"""Numbers [T][N]: integers, or floats that float32 has."""

ABSENT = {"max_plus": -128, "min_plus": 127, "or_and": 0}
NOTHING = {"max_plus": -512, "min_plus": 511, "or_and": 0, "plus_times": 0}


def clamp(value: int, low: int = -128, high: int = 127) -> int:
    """The nearest number of a range."""
    return low if value < low else high if value > high else value


def requantized(total: int, multiplier: int, shift: int) -> int:
    """total·multiplier / 2^shift, rounded to the nearest, halves up, and clamped to int8."""
    return clamp(math.floor(Fraction(total * multiplier, 2**shift) + Fraction(1, 2)))


def float32(value: float) -> float:
    """The nearest number that float32 has."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def looked_up(table: Sequence[int], value: int) -> int:
    """The table's entry for an int8; negative ones are in its second half."""
    return table[value if value >= 0 else value + 256]


def reciprocal(count: int, divisor: int) -> tuple[int, int]:
    """count / divisor as g / 2^k, where g has 12 bits unless k is 0 and it has more."""
    k = 0
    while (count << k) // divisor < 2048:
        k += 1
    return (count << k) // divisor, k


def scaled(value: int, factor: int, k: int) -> int:
    """value·factor / 2^k, where the value has 4 bits behind the point, and the result 10."""
    shift = k + 4 - 10
    return (value * factor) >> shift if shift > 0 else value * factor


def normalized(
    row: Sequence[int], exponents: Sequence[int], epsilon: int = 0, rms: bool = False
) -> list[int]:
    """(u - mean) / deviation of u = x·2^exponent, with 10 bits behind the point; or u / rms.

    The epsilon is added to the squares of all values together.
    """
    u = [value * 2**exponent for value, exponent in zip(row, exponents, strict=True)]
    n, total = len(u), 0 if rms else sum(u)
    deviation = math.isqrt(n * (sum(value**2 for value in u) + epsilon) - total**2) or 1
    mean = total * 16 // n
    factor, k = reciprocal(n, deviation)
    return [scaled(value * 16 - mean, factor, k) for value in u]


def softmax(scores: Sequence[int], table: Sequence[int]) -> list[int]:
    """The shares of scores, with 16 bits behind the point."""
    most = max(scores)
    e = [looked_up(table, clamp(score - most + 127)) for score in scores]
    factor, k = reciprocal(64, sum(e) or 1)
    return [scaled(value * 16, factor, k) for value in e]


def product(row: Sequence[int], column: Sequence[int], semiring: str) -> int:
    """A sum of products over a semiring, in which absent entries count for nothing."""
    if semiring == "plus_times":
        return sum(x * w for x, w in zip(row, column, strict=True))
    pairs = [(x, w) for x, w in zip(row, column, strict=True) if ABSENT[semiring] not in (x, w)]
    if semiring == "or_and":
        joined = 0
        for x, w in pairs:
            joined |= x & w
        return joined
    if not pairs:
        return NOTHING[semiring]
    return (max if semiring == "max_plus" else min)(x + w for x, w in pairs)


def numbers(attribute: Any) -> list[Any]:
    """The numbers of a dense constant."""
    assert isinstance(attribute, DenseIntOrFPElementsAttr)
    values = list(attribute.get_values())
    count = math.prod(attribute.get_shape())
    return values * count if len(values) == 1 else values


def named(op: Operation, name: str) -> str:
    """The text of an enumeration's attribute."""
    return str(op.properties[name].data)  # type: ignore[attr-defined]


def integer(op: Operation, name: str) -> int:
    """The number of an attribute."""
    return int(op.properties[name].value.data)  # type: ignore[attr-defined]


def evaluate(module: ModuleOp, name: str, x: Rows, sequences: Sequence[int] = ()) -> Rows:
    """The result of a function of one argument, whose tokens may be several sequences."""
    function = next(
        op for op in module.walk() if isinstance(op, FuncOp) and op.sym_name.data == name
    )
    values: dict[SSAValue, Any] = {function.body.block.args[0]: x}
    for op in function.body.block.ops:
        if op.name == "func.return":
            return values[op.operands[0]]
        results = apply(op, [values[v] for v in op.operands], sequences)
        values.update(zip(op.results, results, strict=True))
    raise AssertionError("a function without an end")


def apply(op: Operation, inputs: list[Any], sequences: Sequence[int] = ()) -> Sequence[Any]:
    """The results of an operation."""
    if op.name not in RULES:
        raise NotImplementedError(f"no formula of {op.name}")
    if op.name == "spaq.attend":
        return [_attend(op, inputs, sequences)]
    found = RULES[op.name](op, *inputs)
    results = [found] if len(op.results) == 1 else found
    for value, rows in zip(op.results, results, strict=True):
        kind = value.type.element_type  # type: ignore[attr-defined]
        if isinstance(kind, IntegerType) and op.name != "spaq.constant":
            bits = kind.width.data
            for number in (number for row in rows for number in row):
                assert -(2 ** (bits - 1)) <= number < 2 ** (bits - 1), f"{number} in {bits} bits"
    return results


def _constant(op: Operation) -> Any:
    values = numbers(op.properties["value"])
    shape = op.results[0].type.get_shape()  # type: ignore[attr-defined]
    if len(shape) == 1:
        return values
    return [values[row * shape[1] :][: shape[1]] for row in range(shape[0])]


def _matmul(op: Operation, x: Rows, weights: Rows) -> Rows:
    semiring = named(op, "semiring") if "semiring" in op.properties else "plus_times"
    columns = list(zip(*weights, strict=True))
    return [[product(row, column, semiring) for column in columns] for row in x]


def _add(op: Operation, x: Rows, bias: list[int]) -> Rows:
    return [[a + b for a, b in zip(row, bias, strict=True)] for row in x]


def _requantize(op: Operation, x: Rows) -> Rows:
    factors = list(
        zip(numbers(op.properties["multiplier"]), numbers(op.properties["shift"]), strict=True)
    )
    return [[requantized(v, m, s) for v, (m, s) in zip(row, factors, strict=True)] for row in x]


def _requantize_rows(op: Operation, x: Rows) -> tuple[Rows, Rows]:
    """int8 in steps that are the finest, up to 2^reach, in which no value of a row saturates."""
    reach, found, exponents = integer(op, "reach"), list[list[int]](), list[list[int]]()
    for row in x:
        (plain,) = _requantize(op, [row])
        e = next(
            e for e in range(reach + 1) if e == reach or _is_below(plain, 2 ** (7 - reach + e))
        )
        found += _requantize(op, [[value * 2 ** (reach - e) for value in row]])
        exponents.append([e])
    return found, exponents


def _is_below(row: Sequence[int], bound: int) -> bool:
    return all(-bound < value < bound for value in row)


def _scale_rows(op: Operation, x: Rows, exponents: Rows) -> Rows:
    return [[value * 2**e for value in row] for row, (e,) in zip(x, exponents, strict=True)]


def _activation(op: Operation, x: Rows) -> Rows:
    table = numbers(op.properties["table"])
    return [[looked_up(table, value) for value in row] for row in x]


def _residual(op: Operation, x: Rows, kept: Rows) -> Rows:
    factors = numbers(op.properties["multiplier"])
    return [
        [v + r * m for v, r, m in zip(row, own, factors, strict=False)]
        for row, own in zip(x, kept, strict=True)
    ]


def _normalize(op: Operation, x: Rows) -> Rows:
    exponents, epsilon = numbers(op.properties["exponent"]), op.properties.get("epsilon")
    added = epsilon.value.data if isinstance(epsilon, IntegerAttr) else 0
    return [normalized(row, exponents, added, "rms" in op.properties) for row in x]


def _gate(op: Operation, x: Rows) -> Rows:
    table = numbers(op.properties["table"])
    return [
        [looked_up(table, g) * v for g, v in zip(row[::2], row[1::2], strict=True)] for row in x
    ]


def _scales(op: Operation, count: int) -> list[float]:
    scale: Any = op.properties["scale"]
    if isinstance(scale, DenseIntOrFPElementsAttr):
        return [float(value) for value in numbers(scale)]
    return [float(scale.value.data)] * count


def _extra(op: Operation) -> list[tuple[int, int]]:
    """The feature and the rank of each extra column."""
    features = numbers(op.properties["split"]) if "split" in op.properties else []
    return [(f, 1 + features[:place].count(f)) for place, f in enumerate(features)]


def _quantize(op: Operation, x: Rows) -> Rows:
    extra = _extra(op)
    found: Rows = []
    for row in x:
        scales = _scales(op, len(row))
        # An overflow is beyond the range, too.
        whole = [
            round(max(min(float(v) / s, 1e15), -1e15)) for v, s in zip(row, scales, strict=True)
        ]
        own = [clamp(value) for value in whole]
        for feature, rank in extra:
            value = whole[feature]
            above = clamp(value - 127 * rank, 0, 127)
            below = clamp(value + 128 * rank, -128, 0)
            own.append(above + below)
        found.append(own)
    return found


def _dequantize(op: Operation, q: Rows) -> Rows:
    extra, found = _extra(op), list[list[float]]()
    for row in q:
        count = len(row) - len(extra)
        whole = list(row[:count])
        for (feature, _), value in zip(extra, row[count:], strict=True):
            whole[feature] += value
        found.append([v * s for v, s in zip(whole, _scales(op, count), strict=True)])
    return found


def _columns(op: Operation, x: Rows) -> Rows:
    first = integer(op, "first")
    count = op.results[0].type.get_shape()[1]  # type: ignore[attr-defined]
    return [row[first : first + count] for row in x]


def _gather(op: Operation, x: Rows) -> Rows:
    columns = numbers(op.properties["columns"])
    return [[row[column] for column in columns] for row in x]


def _concat(op: Operation, *parts: Rows) -> Rows:
    return [[value for part in rows for value in part] for rows in zip(*parts, strict=True)]


def _attend(op: Operation, inputs: list[Rows], sequences: Sequence[int]) -> Rows:
    queries, keys, values = inputs
    found: Rows = []
    first = 0
    for length in sequences or (len(queries),):
        part = slice(first, first + length)
        found += _one_sequence(op, queries[part], keys[part], values[part])
        first += length
    return found


def _one_sequence(op: Operation, queries: Rows, keys: Rows, values: Rows) -> Rows:
    heads = integer(op, "heads")
    scores = numbers(op.properties["score_multiplier"]), numbers(op.properties["score_shift"])
    table = numbers(op.properties["table"])
    factors = list(
        zip(numbers(op.properties["multiplier"]), numbers(op.properties["shift"]), strict=True)
    )
    width = len(queries[0]) // heads
    found: Rows = []
    for query in queries:
        row: list[int] = []
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            score = [
                requantized(
                    product(query[own], key[own], "plus_times"), scores[0][head], scores[1][head]
                )
                for key in keys
            ]
            share = [requantized(value, 127, 16) for value in softmax(score, table)]
            for column in range(own.start, own.stop):
                total = sum(s * value[column] for s, value in zip(share, values, strict=True))
                row.append(requantized(total, *factors[column]))
        found.append(row)
    return found


RULES: dict[str, Callable[..., Any]] = {
    "spaq.constant": _constant,
    "spaq.matmul": _matmul,
    "spaq.add": _add,
    "spaq.requantize": _requantize,
    "spaq.requantize_rows": _requantize_rows,
    "spaq.scale_rows": _scale_rows,
    "spaq.activation": _activation,
    "spaq.residual": _residual,
    "spaq.normalize": _normalize,
    "spaq.gate": _gate,
    "spaq.quantize": _quantize,
    "spaq.dequantize": _dequantize,
    "spaq.columns": _columns,
    "spaq.gather": _gather,
    "spaq.concat": _concat,
    "spaq.attend": _attend,
    "spaq.calibrated": lambda op, x: x,
}


def real_product(op: Operation, lhs: Rows, rhs: Rows) -> Rows:
    """`nn.product` of two matrices: both in int8, the sums requantised, and scaled up again."""
    steps = [float(op.properties[f"{side}_step"].value.data) for side in ("lhs", "rhs", "result")]  # type: ignore[attr-defined]

    def levels(rows: Rows, step: float, low: int) -> Rows:
        return [[clamp(round(float(value) / step), low) for value in row] for row in rows]

    left, right = levels(lhs, steps[0], -128), levels(rhs, steps[1], -127)
    worth = float32(steps[2])
    multiplier, shift = integer(op, "multiplier"), integer(op, "shift")
    columns = list(zip(*right, strict=True))
    return [
        [
            float32(requantized(product(row, column, "plus_times"), multiplier, shift) * worth)
            for column in columns
        ]
        for row in left
    ]
