# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The error that the Python layer raises for bad input."""


class DaqkfError(ValueError):
    """Something the user can put right; the message is one line that names the place."""
