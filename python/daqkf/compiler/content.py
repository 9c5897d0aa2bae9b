# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Equality and hashes of what is compiled, by its IR."""

import hashlib
from functools import cached_property

from xdsl.dialects.builtin import ModuleOp

from daqkf.support.ir import module_text


class EqualByContent:
    """Something that is told from others of its class by modules and a target alone."""

    target: str

    @property
    def modules(self) -> tuple[ModuleOp, ...]:
        """What it consists of."""
        raise NotImplementedError

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the modules' text and of the target, in hexadecimal."""
        texts = [self.target, *(module_text(module) for module in self.modules)]
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        assert isinstance(other, EqualByContent)
        return self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)
