# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What compiled layers and networks have in common: equality by content, and how they are shown."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import ModuleOp

from daqkf.passes.progress import Progress, silent
from daqkf.support.ir import module_text

if TYPE_CHECKING:
    from daqkf.reports.writing import Report
    from daqkf.synthesis import Resources


class Compiled(ABC):
    """Something for an array, which is told from others of its class by modules and a target."""

    target: str

    @property
    @abstractmethod
    def modules(self) -> tuple[ModuleOp, ...]:
        """The IR that it consists of."""

    @property
    @abstractmethod
    def figures(self) -> Mapping[str, str]:
        """What is said of it in a line, by name."""

    @abstractmethod
    def report(self) -> "Report":
        """The weights: non-zeros, levels, ranges, as a table and as pictures."""

    @cached_property
    @abstractmethod
    def verilog_files(self) -> dict[str, str]:
        """SystemVerilog of the array by file name, one module each."""

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the modules' text and of the target, in hexadecimal."""
        texts = [self.target, *(module_text(module) for module in self.modules)]
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        assert isinstance(other, Compiled)
        return self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.figures.values())})"

    def _repr_html_(self) -> str:
        from daqkf.reports.notebook import page

        return page(type(self).__name__, self.figures, self.report().entries)

    def synthesize(
        self,
        fabric: str | None = None,
        *,
        place: bool = False,
        board: str | None = None,
        seeds: Sequence[int] = (1,),
        modules: bool = False,
        progress: Progress = silent,
    ) -> "Resources":
        """What the array takes of a fabric, and with `place` how fast it is there.

        See `daqkf.synthesis.synthesize`, which says what the arguments mean and what is raised.
        """
        from daqkf.lowering.rtl.array import TOP
        from daqkf.synthesis import synthesize

        return synthesize(
            self.verilog_files,
            TOP,
            fabric,
            place=place,
            board=board,
            seeds=seeds,
            modules=modules,
            progress=progress,
        )
