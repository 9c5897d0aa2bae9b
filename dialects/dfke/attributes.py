# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Attributes of `dfke`: the machine a kernel is scheduled for, its schedule, a decision."""

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ArrayAttr, DenseArrayBase, DenseIntOrFPElementsAttr
from xdsl.ir import ParametrizedAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.utils.exceptions import VerifyException

from daqkf.dialects.dense import to_array
from daqkf.dialects.keyed import KeyedData
from daqkf.hw_targets.decision import Decision
from daqkf.hw_targets.machine import Machine


@irdl_attr_definition
class MachineAttr(KeyedData[Machine]):
    """`#dfke.machine<pes = 4, lanes = 8, …>`."""

    name = "dfke.machine"
    record = Machine


@irdl_attr_definition
class DecisionAttr(KeyedData[Decision]):
    """`#dfke.decision<lanes = 8, shift = 9, table = [0, 0, 1, 1]>`."""

    name = "dfke.decision"
    record = Decision


@irdl_attr_definition
class ScheduleAttr(ParametrizedAttribute):
    """Which PE of a machine computes which outputs, in which order.

    `outputs` [N] lists the output channels of PE 0, then of PE 1, …; `counts` [P] says how
    many each has, and `words` [P] how many stream words, one a cycle, they take.
    """

    name = "dfke.schedule"

    machine: MachineAttr
    outputs: DenseIntOrFPElementsAttr
    counts: DenseIntOrFPElementsAttr
    words: DenseIntOrFPElementsAttr

    def verify(self) -> None:
        """Hold the parts against one another."""
        pes = self.machine.data.pes
        outputs, counts = to_array(self.outputs), to_array(self.counts)
        if counts.shape != (pes,) or self.words.get_shape() != (pes,):
            raise VerifyException(f"a schedule for {pes} PEs needs as many counts and words")
        if counts.min() < 0 or counts.sum() != len(outputs):
            raise VerifyException(
                f"the counts add up to {counts.sum()}, but {len(outputs)} outputs are scheduled"
            )
        if not np.array_equal(np.sort(outputs), np.arange(len(outputs))):
            raise VerifyException("a schedule names each output channel exactly once")

    def shares(self) -> list[NDArray[np.int32]]:
        """The output channels of each PE, in order."""
        ends = np.cumsum(to_array(self.counts))
        return np.split(to_array(self.outputs), ends[:-1])


@irdl_attr_definition
class TilesAttr(ParametrizedAttribute):
    """How a kernel that is too large for a machine is cut, and the schedules of its parts.

    `features` has the features of each part of them, `outputs` the outputs of each group; the
    schedules go by group, and by part within it.
    """

    name = "dfke.tiles"

    features: DenseArrayBase
    outputs: DenseArrayBase
    schedules: ArrayAttr[ScheduleAttr]

    def verify(self) -> None:
        """Hold the parts against one another."""
        parts, groups = self.parts(), self.groups()
        schedules = self.schedules.data
        if min([*parts, *groups], default=0) < 1 or len(schedules) != len(parts) * len(groups):
            raise VerifyException(
                f"{len(groups)} groups of {len(parts)} parts with {len(schedules)} schedules"
            )
        for number, schedule in enumerate(schedules):
            expected = (groups[number // len(parts)],)
            if schedule.outputs.get_shape() != expected or schedule.machine != self.machine:
                raise VerifyException(f"schedule {number} is not one of {expected[0]} outputs")

    def parts(self) -> list[int]:
        """The features of each part."""
        return np.frombuffer(self.features.data.data, "<i8").tolist()

    def groups(self) -> list[int]:
        """The outputs of each group."""
        return np.frombuffer(self.outputs.data.data, "<i8").tolist()

    @property
    def machine(self) -> MachineAttr:
        """What the parts are scheduled for."""
        return self.schedules.data[0].machine
