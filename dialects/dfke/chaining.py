# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Chains of kernels, and what the row unit does between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import irdl_op_definition, opt_result_def, result_def
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dfke.ops import KernelOp
from daqkf.dialects.dfke.region import RegionOperation, YieldOp, first_of
from daqkf.dialects.spaq import (
    ActivationOp,
    AddOp,
    AttendOp,
    ConstantOp,
    GateOp,
    NormalizeOp,
    RequantizeOp,
    RequantizeRowsOp,
)
from daqkf.dialects.spaq.ops import chain, defining_constant
from daqkf.dialects.spaq.types import INT8_ACTIVATIONS, RESULT_ACTIVATIONS

ROW_STAGES: tuple[type[Operation], ...] = (AddOp, RequantizeOp, RequantizeRowsOp, ActivationOp)
"""What may follow the first operation of a row unit's kernel, in this order, each at most once."""


@dataclass(frozen=True)
class RowBody:
    """The operations of the body `act(requantize(first(x) + b))`."""

    first: Operation
    add: AddOp | None
    bias: ConstantOp | None
    requantize: RequantizeOp | RequantizeRowsOp
    activation: ActivationOp | None

    @property
    def reach(self) -> int | None:
        """That of the exponents that rows share, if they do."""
        own = self.requantize
        return own.reach.value.data if isinstance(own, RequantizeRowsOp) else None


class RowOperation(RegionOperation):
    """What the array's row unit does with a kernel's results, in a chain.

    The body is the operation that gives it its name, then optionally `spaq.add` of a constant,
    `spaq.requantize`, and optionally `spaq.activation`. Where rows `may_share` exponents, it may
    end with `spaq.requantize_rows` instead; then these are a second result.
    """

    FIRST: ClassVar[type[Operation]]
    """What the body begins with."""
    MAY_SHARE: ClassVar[bool] = False
    """Whether rows may share exponents."""

    result = result_def(INT8_ACTIVATIONS)  # once more, as it comes before the other one
    exponents = opt_result_def(INT8_ACTIVATIONS)

    def __init__(self, value: SSAValue, result_types: Sequence[Attribute], body: Region):
        result, *exponents = result_types
        super().__init__(operands=[value], result_types=[result, exponents], regions=[body])

    def verify_(self) -> None:
        self.verify_region()
        if [value.type for value in self.yielded()] != [value.type for value in self.results]:
            raise VerifyException(f"the body ends with a dfke.yield of the result of {self.name}")
        self._verify_body()

    def parts(self) -> RowBody:
        """The stages of the body, of an operation that verifies."""
        block = self.body.block
        add = first_of(block, AddOp)
        first = first_of(block, self.FIRST)
        requantize = first_of(block, RequantizeOp) or first_of(block, RequantizeRowsOp)
        assert first is not None and requantize is not None
        bias = None if add is None else defining_constant(add.bias)
        return RowBody(first, add, bias, requantize, first_of(block, ActivationOp))

    def _verify_body(self) -> None:
        """Check that the body is act(requantize(first(x) + b)).

        Raises:
            VerifyException: it is not.
        """
        block = self.body.block
        first, name = block.args[0].get_user_of_unique_use(), self.FIRST.name
        if not isinstance(first, self.FIRST):
            raise VerifyException(f"the input of {self.name} goes to one {name}")
        stages = chain(first, ROW_STAGES)
        add = next((stage for stage in stages if isinstance(stage, AddOp)), None)
        bias = defining_constant(add.bias) if add else None
        kinds = (RequantizeOp, RequantizeRowsOp) if self.MAY_SHARE else (RequantizeOp,)
        requantize = next((stage for stage in stages if isinstance(stage, kinds)), None)
        if requantize is None or (add is not None and bias is None):
            raise VerifyException(
                f"{self.name} is {name}, spaq.add of a constant, spaq.requantize and "
                "spaq.activation, in this order"
            )
        used = {first, bias, *stages, block.last_op}
        stray = next((op for op in block.ops if op not in used), None)
        if stray is not None:
            raise VerifyException(f"{self.name} has no place for {stray.name}")
        terminator = block.last_op
        if terminator is None or tuple(terminator.operands) != tuple(stages[-1].results):
            raise VerifyException(f"{self.name} yields the last of its stages")
        if isinstance(requantize, RequantizeRowsOp) and requantize is not stages[-1]:
            raise VerifyException(f"{self.name} has no function of rows that share exponents")


@irdl_op_definition
class NormalizationOp(RowOperation):
    """Normalisation of a kernel's results, with a mean or without.

    ```mlir
    %y = dfke.normalization(%x = %0) : tensor<?x2xi8> -> tensor<?x2xi8> {
      %1 = spaq.normalize %x exponent … : tensor<?x2xi8> -> tensor<?x2xi18>
      %2 = spaq.requantize %1 multiplier … shift … : tensor<?x2xi18> -> tensor<?x2xi8>
      dfke.yield %2 : tensor<?x2xi8>
    }
    ```
    """

    name = "dfke.normalization"

    FIRST: ClassVar = NormalizeOp


@irdl_op_definition
class GatingOp(RowOperation):
    """Every other one of a kernel's results, times a function of the one before.

    With `spaq.requantize_rows`, the exponents that its rows share are a second result.

    ```mlir
    %y = dfke.gating(%x = %0) : tensor<?x4xi8> -> tensor<?x2xi8> {
      %1 = spaq.gate "silu" %x table … : tensor<?x4xi8> -> tensor<?x2xi16>
      %2 = spaq.requantize %1 multiplier … shift … : tensor<?x2xi16> -> tensor<?x2xi8>
      dfke.yield %2 : tensor<?x2xi8>
    }
    ```
    """

    name = "dfke.gating"

    FIRST: ClassVar = GateOp
    MAY_SHARE: ClassVar = True


Part = KernelOp | RowOperation | AttendOp
"""What a chain is made of."""


@dataclass(frozen=True)
class Attention:
    """What a chain of sequences begins with, in this order, and what is behind it."""

    keys: Part
    values: Part
    queries: Part
    attend: AttendOp
    behind: list[Part]

    @classmethod
    def of(cls, parts: Sequence[Part]) -> Self | None:
        """That of parts; None if there is no attention where there should be."""
        match parts:
            case [keys, values, queries, AttendOp() as attend, *behind]:
                return cls(keys, values, queries, attend, behind)
            case _:
                return None

    def problem(self, value: SSAValue) -> str | None:
        """Why an array cannot compute it on a value, if so."""
        kernels: list[KernelOp] = []
        for number, kernel in enumerate((self.keys, self.values, self.queries)):
            if (
                not isinstance(kernel, KernelOp)
                or kernel.input is not value
                or kernel.kept is not None
            ):
                return f"kernel {number} of a chain that attends is of the chain's input alone"
            kernels.append(kernel)
        if (
            self.attend.keys is not self.keys.result
            or self.attend.values is not self.values.result
            or self.attend.queries is not self.queries.result
        ):
            return "attention is of the first three kernels of a chain: keys, values and queries"
        if any(kernel.result.get_user_of_unique_use() is None for kernel in kernels):
            return "keys, values and queries of a chain have no other readers"
        return None


@irdl_op_definition
class ChainOp(RegionOperation):
    """Kernels one after another, on the array all the time.

    The first kernel is of the chain's input, each other one of the result before it, and the
    last one's result is the chain's. So nothing between them leaves the array. Behind a kernel
    there may be a normalisation or a gating of its results, and a kernel may add what it, or a
    kernel before it, reads: that is kept until something else is. Exponents that the rows of a
    gating share are for the kernel behind it. The results of the last kernel may be wide.

    ```mlir
    %y = dfke.chain(%k = %x) : tensor<?x2xi8> -> tensor<?x3xi8> {
      %0 = dfke.kernel(%a = %k) : tensor<?x2xi8> -> tensor<?x8xi8> { … }
      %1 = dfke.kernel(%a = %0) : tensor<?x8xi8> -> tensor<?x3xi8> { … }
      dfke.yield %1 : tensor<?x3xi8>
    }
    ```
    """

    name = "dfke.chain"

    result = result_def(RESULT_ACTIVATIONS)  # once more, as others have narrow ones

    def verify_(self) -> None:
        self.verify_region()
        block = self.body.block
        parts = self.parts()
        if len(parts) + 1 != len(block.ops) or not parts:
            raise VerifyException(
                "a chain has kernels, what the row unit does between them and a dfke.yield alone"
            )
        last = parts[-1].result
        if self.yielded() != (last,) or last.type != self.result.type:
            raise VerifyException("a chain yields the result of its last kernel")
        if problem := unsound(block.args[0], parts):
            raise VerifyException(problem)

    def parts(self) -> list[Part]:
        """The kernels, and what the row unit does, in order."""
        return [op for op in self.body.block.ops if isinstance(op, Part)]

    def kernels(self) -> list[KernelOp]:
        """The kernels, in order."""
        return [op for op in self.body.block.ops if isinstance(op, KernelOp)]

    def saves(self) -> list[int]:
        """The numbers of the parts whose input is kept, ascending."""
        return saves_of(self.parts())


def saves_of(parts: Sequence[Part]) -> list[int]:
    """The numbers of the parts that read what one of them adds.

    Of those that read the input of a chain of sequences, the last one: the others are of the pass
    before.
    """
    kept = [part.kept for part in parts if isinstance(part, KernelOp) and part.kept is not None]
    attention = Attention.of(parts)
    first = 0 if attention is None else parts.index(attention.queries)
    return [
        number
        for number, part in enumerate(parts)
        if number >= first and not isinstance(part, AttendOp) and part.input in kept
    ]


def unsound(value: SSAValue, parts: Sequence[Part]) -> str | None:
    """Why an array cannot run parts one after another on a value, if so."""
    behind, attention = parts, Attention.of(parts)
    if attention is not None:
        if problem := attention.problem(value):
            return problem
        value, behind = attention.attend.result, attention.behind
    for number, part in enumerate(behind, len(parts) - len(behind)):
        if isinstance(part, AttendOp):
            return "attention is of the first three kernels of a chain: keys, values and queries"
        if part.input is not value:
            return f"kernel {number} of a chain is of the result before it"
        if number and any(use.operation not in parts for use in value.uses):
            return f"what kernel {number} of a chain is of has other readers"
        behind = parts[number - 1] if number else None
        if isinstance(part, RowOperation) and not isinstance(behind, KernelOp):
            return f"kernel {number} of a chain works on rows that no kernel has computed"
        if (
            isinstance(part, GatingOp)
            and isinstance(behind, KernelOp)
            and behind.parts().activation is not None
        ):
            return f"what kernel {number} of a chain gates has a function of its own"
        if problem := _unshared(part, behind, parts, number):
            return problem
        value = part.result
    last = parts[-1]
    if isinstance(last, RowOperation) and last.exponents is not None:
        return "the exponents of the rows that a chain yields are lost"
    saves = saves_of(parts)
    for number, part in enumerate(parts):
        if isinstance(part, KernelOp) and part.kept is not None:
            last = max((save for save in saves if save <= number), default=None)
            saver = None if last is None else parts[last]
            if isinstance(saver, RowOperation) and saver.input is part.kept:
                return f"kernel {number} of a chain adds what no kernel reads"
            if not isinstance(saver, KernelOp) or saver.input is not part.kept:
                return f"what kernel {number} of a chain adds is not kept until then"
    return None


def _unshared(part: Part, behind: Part | None, parts: Sequence[Part], number: int) -> str | None:
    """Why a part does not get the exponents that it takes, or that are for it."""
    shared = behind.exponents if isinstance(behind, RowOperation) else None
    taken = part.exponents if isinstance(part, KernelOp) else None
    if taken is not shared:
        return f"kernel {number} of a chain does not take the exponents of its rows"
    if shared is None:
        return None
    assert isinstance(behind, RowOperation) and isinstance(part, KernelOp)
    scale = part.parts().scale
    assert scale is not None
    if behind.parts().reach != scale.reach.value.data:
        return f"kernel {number} of a chain takes exponents of another reach"
    if any(use.operation not in parts for use in shared.uses):
        return f"the exponents of the rows of kernel {number} of a chain have other readers"
    if any(isinstance(other, KernelOp) and other.kept is part.input for other in parts):
        return f"a kernel adds what kernel {number} of a chain reads, and not its exponents"
    return None


def program_count(parts: Sequence[Part]) -> int:
    """Kernels that an array runs for parts: attention is scores, their softmax and results."""
    return sum(3 if isinstance(part, AttendOp) else 1 for part in parts)


def chain_parts(parts: Sequence[Part]) -> ChainOp:
    """A chain of copies of parts that follow one another."""
    first = parts[0]
    assert not isinstance(first, AttendOp)
    value = first.input
    block = Block(arg_types=[value.type])
    mapping: dict[SSAValue, SSAValue] = {value: block.args[0]}
    for part in parts:
        copy = part.clone(mapping)
        block.add_op(copy)
        mapping |= zip(part.results, copy.results, strict=True)
    result = mapping[parts[-1].result]
    block.add_op(YieldOp(result))
    return ChainOp(operands=[value], result_types=[result.type], regions=[Region(block)])
