# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf-opt` with a bug in `nn-outline`: biases have the wrong sign."""

import sys

from daqkf.cli.opt import main
from daqkf.passes import nn_outline

_right = nn_outline._bias


def _wrong(*args):
    found = _right(*args)
    return None if found is None else (found[0], -found[1])


nn_outline._bias = _wrong
sys.exit(main())
