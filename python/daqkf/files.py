# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Writing files whole or not at all; passes write so, too."""

from daqkf.passes.files import replacing, write_atomically

__all__ = ["replacing", "write_atomically"]
