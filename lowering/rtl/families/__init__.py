# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The circuits of the families of processing elements, one file each."""

from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.families.descriptor import load
from daqkf.lowering.rtl.families.stage import DatapathBuilder


def datapath_of(family: str) -> DatapathBuilder:
    """The circuit of a family."""
    return load(FAMILIES[family].datapath, DatapathBuilder)
