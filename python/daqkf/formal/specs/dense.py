# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The specification of the dense family: each lane multiplies by every weight."""

from dataclasses import replace
from typing import ClassVar, override

from daqkf.formal.spec import Spec
from daqkf.formal.specs.multiply import MultiplySpec
from daqkf.hw_targets.config import ArrayConfig


class DenseSpec(MultiplySpec):
    """The same as `MultiplySpec` with one 8-bit weight a word; counters supply all other fields."""

    circuits: ClassVar = ({}, {"multiplier": "dsp"}, {"multiplier": "packed", "lanes": 2})
    planted: ClassVar = 1

    @override
    def of_array(self, config: ArrayConfig) -> Spec:
        return replace(self, multiplier=config.multiplier)


SPEC = DenseSpec()
