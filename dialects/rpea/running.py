# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of `rpea` that run programs: one at a time, or in turns."""

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    ArrayAttr,
    FlatSymbolRefAttr,
    IntegerAttr,
    StringAttr,
    SymbolNameConstraint,
    SymbolRefAttr,
    i8,
    i16,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure, SymbolOpInterface, SymbolTable, SymbolUserOpInterface

from daqkf.dialects.rpea.chaining import ChainOp, Kernel, Playable
from daqkf.dialects.rpea.checks import require
from daqkf.dialects.rpea.ops import (
    ArrayOp,
    DispatchOp,
    ProgramOp,
    require_program,
    require_unchained,
    symbols_around,
)
from daqkf.dialects.spaq.ops import activations
from daqkf.dialects.spaq.types import INT8_ACTIVATIONS, RESULT_ACTIVATIONS


class _UsesParts(SymbolUserOpInterface):
    def verify(self, op: Operation) -> None:
        assert isinstance(op, TiledOp)
        op.verify_parts()
        op.verify_groups()


@irdl_op_definition
class TiledOp(IRDLOperation):
    """A kernel that is too large for the array, as programs that are loaded in turns.

    Its outputs are in groups, one after another, each of all features. The features of a group are
    in parts: all but the first part add to the sums before, and all but the last keep theirs.

    ```mlir
    rpea.tiled @large of [@first, @rest]
    ```
    """

    name = "rpea.tiled"

    sym_name = prop_def(SymbolNameConstraint())
    programs = prop_def(ArrayAttr[FlatSymbolRefAttr])

    traits = traits_def(SymbolOpInterface(), _UsesParts())
    assembly_format = "$sym_name `of` $programs attr-dict"

    def __init__(self, name: str, programs: Sequence[ProgramOp]):
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "programs": ArrayAttr(SymbolRefAttr(program.sym_name) for program in programs),
            }
        )

    def groups(self) -> list[list[ProgramOp]]:
        """The parts of each group of outputs."""
        groups: list[list[ProgramOp]] = [[]]
        symbols = symbols_around(self)
        for symbol in self.programs:
            program = symbols[symbol.root_reference.data]
            assert isinstance(program, ProgramOp)
            groups[-1].append(program)
            if not program.keeps:
                groups.append([])
        return groups if groups[-1] else groups[:-1]

    @property
    def features(self) -> IntegerAttr:
        """Input features K, of all parts."""
        return IntegerAttr(sum(part.features.value.data for part in self.groups()[0]), i64)

    @property
    def channels(self) -> int:
        """Output channels N, of all groups."""
        return sum(group[0].channels for group in self.groups())

    def target(self) -> ArrayOp:
        """The array that the programs are for."""
        return self.groups()[0][0].target()

    def verify_parts(self) -> None:
        """Find the programs.

        Raises:
            VerifyException: there are none, or a symbol names no program, or one of a chain.
        """
        require(self.programs.data, "a tiled kernel needs programs")
        symbols = symbols_around(self)
        for symbol in self.programs:
            require_unchained(symbols.get(symbol.root_reference.data), symbol)

    def verify_groups(self) -> None:
        """Hold the programs against one another.

        Raises:
            VerifyException: other arrays or shapes, or sums that nothing goes on from or ends.
        """
        groups = self.groups()
        expected = sum(part.features.value.data for part in groups[0])
        for group in groups:
            names = ", ".join(f"@{part.sym_name.data}" for part in group)
            adds = [part.adds is not None for part in group]
            require(
                adds == [number > 0 for number in range(len(group))] and not group[-1].keeps,
                f"{names}: all but the first part add to sums, and all but the last keep them",
            )
            require(len({part.channels for part in group}) == 1, f"{names} differ in their outputs")
            require(
                {part.array for part in group} == {groups[0][0].array},
                f"{names} are for different arrays",
            )
            features = sum(part.features.value.data for part in group)
            require(
                features == expected,
                f"{names} have {features} features, others {expected}",
            )
            last, first = group[-1], groups[0][-1]
            require(
                (last.wide, last.top_k) == (first.wide, first.top_k),
                f"{names} differ from others in whether results are wide, or the largest",
            )


Runnable = Playable | TiledOp
"""What an `rpea.run` can name."""


def is_wide(program: Runnable) -> bool:
    """Whether the results of a program are wide."""
    last: Kernel | Runnable = program
    if isinstance(program, TiledOp):
        last = program.groups()[-1][-1]
    elif isinstance(program, ChainOp):
        last = program.kernels()[-1]
    return isinstance(last, ProgramOp) and last.wide is not None


def result_columns(program: Runnable) -> int:
    """Columns of the results of a program; groups of a kernel stand side by side."""
    if isinstance(program, TiledOp):
        return sum(group[-1].result_columns for group in program.groups())
    return program.result_columns if isinstance(program, ProgramOp) else program.channels


def _results(program: Runnable) -> Attribute:
    """The type of the results of a program."""
    return activations(result_columns(program), i16 if is_wide(program) else i8)


class _UsesProgram(SymbolUserOpInterface):
    def verify(self, op: Operation) -> None:
        assert isinstance(op, RunOp)
        found = SymbolTable.lookup_symbol(op, op.program)
        if isinstance(found, DispatchOp | ChainOp | TiledOp):
            found.verify_parts()
        else:
            require_program(op, op.program)
        program = op.target()
        expected = (
            activations(program.features.value.data, i8),
            _results(program),
        )
        require(
            (op.input.type, op.result.type) == expected,
            f"{op.program} maps {expected[0]} to {expected[1]}",
        )


@irdl_op_definition
class RunOp(IRDLOperation):
    """Run a program, or several that go together, on an array: int8 [T, K] → int8 [T, N].

    Wide results are int16, and the largest of them with their numbers are [T, 2·`top_k`] of each
    group.
    """

    name = "rpea.run"

    program = prop_def(FlatSymbolRefAttr)
    input = operand_def(INT8_ACTIVATIONS)
    result = result_def(RESULT_ACTIVATIONS)

    traits = traits_def(_UsesProgram(), Pure())
    assembly_format = "$program `(` $input `)` attr-dict `:` type($input) `->` type($result)"

    def __init__(self, program: Runnable, value: SSAValue):
        super().__init__(
            operands=[value],
            properties={"program": SymbolRefAttr(program.sym_name)},
            result_types=[_results(program)],
        )

    def target(self) -> Runnable:
        """What runs, of an operation that verifies."""
        found = SymbolTable.lookup_symbol(self, self.program)
        assert isinstance(found, Runnable)
        return found
