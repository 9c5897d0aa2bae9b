# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The specification of the dense family: a multiplier a lane, for every weight."""

from dataclasses import replace
from typing import ClassVar, override

from daqkf.dialects.rpea import ArrayConfig
from daqkf.formal.spec import Spec
from daqkf.formal.specs.multiply import MultiplySpec


class DenseSpec(MultiplySpec):
    """The same with one weight of 8 bits a word, and all that the counters supply."""

    circuits: ClassVar = ({}, {"multiplier": "dsp"}, {"multiplier": "packed", "lanes": 2})
    planted: ClassVar = 1

    @override
    def of_array(self, config: ArrayConfig) -> Spec:
        return replace(self, multiplier=config.multiplier)


SPEC = DenseSpec()
