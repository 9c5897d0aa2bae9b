# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How passes apply their patterns: once to each operation, with errors that name its place."""

from dataclasses import dataclass

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriteWalker, RewritePattern

from daqkf.passes.diagnostics import failing_at


@dataclass(frozen=True)
class _FailingAtOperations(RewritePattern):
    """A pattern whose errors are failures of a pass."""

    pattern: RewritePattern
    pass_name: str

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        """Apply the pattern."""
        with failing_at(op, self.pass_name):
            self.pattern.match_and_rewrite(op, rewriter)


def rewrite_all(given: ModulePass, module: ModuleOp, pattern: RewritePattern) -> bool:
    """Apply a pattern to every operation, also to what it makes, until nothing changes any more.

    Gives whether that has changed anything.

    Raises:
        PassFailedException: as `rewrite_once`.
    """
    return PatternRewriteWalker(_FailingAtOperations(pattern, given.name)).rewrite_module(module)


def rewrite_once(
    given: ModulePass, module: ModuleOp, pattern: RewritePattern, *, reverse: bool = False
) -> bool:
    """Apply a pattern to each operation that is there, in order, but not to what it makes.

    Gives whether that has changed anything.

    Raises:
        PassFailedException: for a ValueError, an InterpretationError or a VerifyException of the
            pattern, naming the place, the operation and the pass.
    """
    walker = PatternRewriteWalker(
        _FailingAtOperations(pattern, given.name), apply_recursively=False, walk_reverse=reverse
    )
    return walker.rewrite_module(module)
