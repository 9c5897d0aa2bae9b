# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Attributes of `rpea`."""

from xdsl.irdl import irdl_attr_definition

from daqkf.dialects.keyed import KeyedData
from daqkf.hw_targets.config import ArrayConfig


@irdl_attr_definition
class ConfigAttr(KeyedData[ArrayConfig]):
    """`#rpea.config<pes = 4, lanes = 8, …>`: everything that shapes the circuit."""

    name = "rpea.config"
    record = ArrayConfig
