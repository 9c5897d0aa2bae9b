# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Chains of kernels, and what else an array can be loaded with."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    FlatSymbolRefAttr,
    IntegerAttr,
    StringAttr,
    SymbolNameConstraint,
    SymbolRefAttr,
    i64,
)
from xdsl.ir import Operation
from xdsl.irdl import IRDLOperation, irdl_op_definition, opt_prop_def, prop_def, traits_def
from xdsl.irdl.declarative_assembly_format import (
    AttributeVariable,
    CustomDirective,
    ParsingState,
    PrintingState,
    irdl_custom_directive,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import SymbolOpInterface, SymbolTable, SymbolUserOpInterface
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import to_array
from daqkf.dialects.rpea.checks import require
from daqkf.dialects.rpea.ops import ArrayOp, DispatchOp, ProgramOp, require_room
from daqkf.dialects.rpea.rows import GatingOp, NormalizationOp, RowOperation, SoftmaxOp
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.numerics import IDENTITY
from daqkf.hw_targets.operands import AttentionKernel, feature_words, token_words

Kernel = ProgramOp | NormalizationOp | GatingOp | SoftmaxOp
"""What a chain is made of."""


@dataclass(frozen=True)
class Attention:
    """The kernels that compute the attention of a chain of sequences."""

    keys: ProgramOp
    values: ProgramOp
    queries: ProgramOp
    scores: ProgramOp
    shares: SoftmaxOp
    context: ProgramOp

    @classmethod
    def of(cls, kernels: Sequence[Kernel]) -> Self | None:
        """Those that kernels begin with, which run in the order of `AttentionKernel`; None if they
        are of other kinds."""
        match kernels:
            case [
                ProgramOp() as keys,
                ProgramOp() as values,
                ProgramOp() as queries,
                ProgramOp() as scores,
                SoftmaxOp() as shares,
                ProgramOp() as context,
                *_,
            ]:
                return cls(keys, values, queries, scores, shares, context)
            case _:
                return None


class _UsesKernels(SymbolUserOpInterface):
    def verify(self, op: Operation) -> None:
        assert isinstance(op, ChainOp)
        op.verify_parts()
        op.verify_kernels()
        op.verify_saves()
        op.verify_exponents()
        op.verify_against(op.target().config.data)


@irdl_custom_directive
class Saves(CustomDirective):
    """`saves [0, 2]`, or nothing."""

    numbers: AttributeVariable

    def parse(self, parser: Parser, state: ParsingState) -> None:
        """Read what `print` has written."""
        if parser.parse_optional_keyword("saves"):
            numbers = parser.parse_comma_separated_list(
                parser.Delimiter.SQUARE, lambda: parser.parse_integer(allow_boolean=False)
            )
            self.numbers.set(state, DenseArrayBase.from_list(i64, numbers))

    def print(self, printer: Printer, state: PrintingState, op: IRDLOperation) -> None:
        """Write the numbers."""
        numbers = self.numbers.get(op)
        if isinstance(numbers, DenseArrayBase):
            state.print_whitespace(printer)
            printer.print_string(f"saves {list(numbers.get_values())}")


@irdl_op_definition
class ChainOp(IRDLOperation):
    """Kernels that an array runs one after another, each on the results of the one before.

    They share the array's memories as the variants of a dispatch do; each has an activation
    table of its own. A kernel is an `rpea.program`, or one of the row unit behind one: an
    `rpea.normalization`, `rpea.gating` or `rpea.softmax`.

    With `tiles`, activations are sequences of at most so many, and the array computes their
    attention (`operands`): the chain begins with kernels of keys, of values and of queries, which
    all read the activations; then come scores, which have the keys for operands, their softmax, and
    results, which have the values.

    The results of the last kernel may be wide.

    `saves` are the numbers of kernels whose activations, what they read, are kept for the
    residuals of themselves and of those behind them, until other ones are. Of these, the first
    `residual_depth` features are kept.

    ```mlir
    rpea.chain @block of [@out, @norm, @up, @down] saves [2]
    rpea.chain @layer of [@keys, @values, @queries, @scores, @shares, @results, @out] tiles 3
    ```
    """

    name = "rpea.chain"

    sym_name = prop_def(SymbolNameConstraint())
    programs = prop_def(ArrayAttr[FlatSymbolRefAttr])
    saves = opt_prop_def(DenseArrayBase.constr(i64))
    tiles = opt_prop_def(IntegerAttr.constr(i64))

    traits = traits_def(SymbolOpInterface(), _UsesKernels())
    custom_directives = (Saves,)
    assembly_format = "$sym_name `of` $programs custom<Saves>($saves) (`tiles` $tiles^)? attr-dict"

    def __init__(
        self,
        name: str,
        programs: Sequence[Kernel],
        saves: Sequence[int] = (),
        tiles: int | None = None,
    ):
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "programs": ArrayAttr(SymbolRefAttr(program.sym_name) for program in programs),
                "saves": DenseArrayBase.from_list(i64, list(saves)) if saves else None,
                "tiles": None if tiles is None else IntegerAttr(tiles, i64),
            }
        )

    def kernels(self) -> list[Kernel]:
        """The kernels, in order."""
        return [kernel_of(self, symbol) for symbol in self.programs]

    @property
    def saved(self) -> tuple[int, ...]:
        """The numbers of the kernels whose activations are kept, ascending."""
        return () if self.saves is None else self.saves.get_values()

    def target(self) -> ArrayOp:
        """The array that the kernels are for."""
        return self.kernels()[0].target()

    @property
    def features(self) -> IntegerAttr:
        """Input features K of the first kernel."""
        return self.kernels()[0].features

    @property
    def channels(self) -> int:
        """Output channels N of the last kernel."""
        return self.kernels()[-1].channels

    def verify_parts(self) -> None:
        """Find the kernels.

        Raises:
            VerifyException: there are none, a symbol names none, or a kernel's own parts do not
                agree.
        """
        require(self.programs.data, "a chain needs programs")
        for symbol in self.programs:
            kernel = SymbolTable.lookup_symbol(self, symbol)
            if not isinstance(kernel, Kernel):
                text = f"{symbol} is no rpea.program, and nothing that works on rows"
                raise VerifyException(text)
            kernel.verify_parts()

    def verify_kernels(self) -> None:
        """Hold the kernels against one another.

        Raises:
            VerifyException: other arrays, shapes that do not follow, a kernel of the row unit
                on what no program has computed, or a gating of what is not plain.
        """
        first, *_ = kernels = self.kernels()
        if isinstance(first, RowOperation):
            raise VerifyException(
                f"@{first.sym_name.data} {first.VERB} what no program of the chain has computed"
            )
        for number, kernel in enumerate(kernels, 1):
            if not isinstance(kernel, ProgramOp):
                continue
            name = f"@{kernel.sym_name.data}"
            require(kernel.top_k is None, f"{name} gives the largest results, in a chain")
            require(
                kernel.wide is None or number == len(kernels),
                f"{name} has wide results, and is not the last of its chain",
            )
        operands = [kernel for kernel in kernels if _has_operands(kernel)]
        if self.tiles is None:
            require(not operands, "the chain has operands, and no number of tiles")
        else:
            kernels = self._verify_attention(kernels)
        for one, other in pairwise(kernels):
            names = f"@{one.sym_name.data} and @{other.sym_name.data}"
            require(one.array == other.array, f"{names} are for different arrays")
            require(
                other.features.value.data == one.channels,
                f"{names} do not follow: {one.channels} outputs, "
                f"{other.features.value.data} features",
            )
            require(
                isinstance(one, ProgramOp) or isinstance(other, ProgramOp),
                f"{names} both work on rows; there is a program between two that do",
            )
            require(
                not isinstance(other, GatingOp) or np.array_equal(to_array(one.table), IDENTITY),
                f"@{one.sym_name.data} has an activation table of its own, where the array looks "
                f"up the gates of @{other.sym_name.data}",
            )

    @property
    def attention(self) -> Attention | None:
        """The kernels of its attention, if activations are sequences."""
        return None if self.tiles is None else Attention.of(self.kernels())

    @property
    def tokens(self) -> int | None:
        """The most tokens of a sequence, if activations are sequences."""
        tiles = self.tiles
        return None if tiles is None else tiles.value.data * self.target().config.data.lanes

    def _verify_attention(self, kernels: Sequence[Kernel]) -> Sequence[Kernel]:
        """Hold the kernels of an attention against one another; those from the queries on."""
        config, tokens = self.target().config.data, self.tokens
        assert tokens is not None and self.tiles is not None
        tiles = self.tiles.value.data
        attention = Attention.of(kernels)
        gated = [number for number, kernel in enumerate(kernels) if _has_operands(kernel)]
        if attention is None or gated != [AttentionKernel.SCORES, AttentionKernel.CONTEXT]:
            raise VerifyException(
                "a chain of sequences has keys, values, queries, scores of operands, a softmax and "
                "results of operands"
            )
        keys, values, queries = attention.keys, attention.values, attention.queries
        shares, context = attention.shares, attention.context
        for one in (keys, values):
            require(
                one.features == queries.features and one.array == queries.array,
                f"@{one.sym_name.data} and @{queries.sym_name.data} read other activations",
            )
        require(
            shares.keys.value.data == tokens and tiles > 0,
            f"a softmax of {shares.keys.value.data} keys in a chain of {tokens} tokens",
        )
        require(shares.queries is None, "a chain of sequences has a softmax that is not causal")
        require(
            keys.channels == queries.channels and values.channels == context.channels,
            f"{keys.channels} features of keys and {queries.channels} of queries, "
            f"{values.channels} of values and {context.channels} of results",
        )
        require(
            keys.channels % config.items == 0,
            f"{keys.channels} features of keys are not in whole operand words of {config.items}",
        )
        room = feature_words(keys.channels, tiles, config)
        room += token_words(values.channels, tiles, config)
        require(
            room <= config.operand_depth,
            f"{room} operand words of a PE; the array holds {config.operand_depth}",
        )
        begins = [kernel.operands_from for kernel in (attention.scores, context)]
        expected = [0, feature_words(keys.channels, tiles, config)]
        found = [place.value.data for place in begins if place is not None]
        require(found == expected, f"operands from words {found}, not {expected}")
        return kernels[AttentionKernel.QUERIES :]

    def verify_saves(self) -> None:
        """Hold what is kept against the residuals that are added.

        Raises:
            VerifyException: `saves` name no programs in order, or a residual is of what is not
                kept.
        """
        kernels = self.kernels()
        require(
            self.saves is None or self.saved,
            "a chain that saves nothing has no list of what it saves",
        )
        require(
            all(one < other for one, other in pairwise(self.saved)),
            f"saves must ascend, not {list(self.saved)}",
        )
        for number in self.saved:
            require(
                0 <= number < len(kernels) and isinstance(kernels[number], ProgramOp),
                f"the chain saves what kernel {number} reads, which is no program",
            )
        kept = 0
        for number, kernel in enumerate(kernels):
            if number in self.saved:
                kept = kernel.features.value.data
            if isinstance(kernel, ProgramOp) and kernel.residual is not None:
                require(
                    kernel.channels <= kept,
                    f"@{kernel.sym_name.data} adds a residual of {kernel.channels} columns; the "
                    f"chain has saved {kept}",
                )

    def verify_exponents(self) -> None:
        """Hold the exponents that rows share against the sums that take them back.

        Raises:
            VerifyException: exponents that are lost, or sums that have none to take.
        """
        kernels = self.kernels()
        for number, (one, other) in enumerate(pairwise([None, *kernels, None])):
            shares = isinstance(one, GatingOp) and one.reach is not None
            takes = isinstance(other, ProgramOp) and other.correction is not None
            if shares and isinstance(one, GatingOp):
                name = one.sym_name.data
                require(
                    takes, f"the results of @{name} share exponents that nothing behind it takes"
                )
                require(
                    number not in self.saved,
                    f"the chain saves the results of @{name}, and not their exponents",
                )
            elif takes and isinstance(other, ProgramOp):
                require(
                    False,
                    f"@{other.sym_name.data} has sums of rows that share exponents, and no such "
                    "gating before it",
                )

    def verify_against(self, config: ArrayConfig) -> None:
        """Hold the chain against the array.

        Raises:
            VerifyException: it does not fit.
        """
        count = len(self.programs)
        require(count <= config.kernels, f"{count} kernels; the array chains {config.kernels}")
        require(
            not self.saved or config.residual_depth,
            "the chain saves activations; the array keeps none",
        )
        require_room(self.kernels(), config, "kernels")


Playable = ProgramOp | DispatchOp | ChainOp
"""What an array can be loaded with."""


def _has_operands(kernel: Kernel) -> bool:
    return isinstance(kernel, ProgramOp) and kernel.operands_from is not None


def kernel_of(user: Operation, symbol: SymbolRefAttr) -> Kernel:
    """The kernel of this name, of an operation that verifies."""
    kernel = SymbolTable.lookup_symbol(user, symbol)
    assert isinstance(kernel, Kernel)
    return kernel
