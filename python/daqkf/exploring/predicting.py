# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a design takes and how fast it is, predicted: exactly for a compiled one, and at least for
one of which only the shape is known."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.design import Design
from daqkf.dialects.rpea import Playable
from daqkf.hw_targets.config import ArrayConfig, activation_rows, memory_depth
from daqkf.hw_targets.device import Device, Needs
from daqkf.hw_targets.engine import engine_needs
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.memory import load_channels
from daqkf.hw_targets.multiplication import PRODUCT_BITS
from daqkf.hw_targets.numerics import ACTIVATION_BITS
from daqkf.hw_targets.prediction import KernelWork, Step, tile_cycles_of
from daqkf.lowering.image.encode import playable
from daqkf.planning.workload import compiled_steps
from daqkf.support.errors import DaqkfError

_NARROW = ACTIVATION_BITS + 1
"""Bits of the narrowest sums."""


@dataclass(frozen=True)
class Prediction:
    """What an array takes of a device, and the cycles of a tile of tokens on it."""

    cycles: float
    lanes: int
    needs: Needs
    device: Device

    def values(self, clock: float) -> dict[str, float]:
        """The figures by the names of `OBJECTIVES`, at a clock in Hz, and all resources."""
        needs = asdict(self.needs)
        return {
            "cycles": self.cycles,
            "tokens": self.lanes * clock / self.cycles,
            "block_ram": needs["block_rams_18k"],
            "share": max(self.device.shares(self.needs).values()),
            **needs,
        }


def predicted(compiled: CompiledNetwork | Design, device: Device, clock: float) -> Prediction:
    """What the array of a compiled layer or network takes, and the cycles of a tile on it.

    The cycles are those from one tile to the next one, of all programs one after another. Programs
    that are loaded in turns are not counted; streams come from the usual memory of the device.

    Args:
        compiled: for whatever target.
        device: that the array is to be on.
        clock: in Hz, which the external memory is held against.

    Raises:
        DaqkfError: it has variants, attention on the array, or nothing for the array.
        UnknownEngineError: nothing says what such an array takes of the device.
    """
    config = compiled.config
    programs: list[Playable]
    if isinstance(compiled, Design):
        programs = [playable(compiled.module)[-1]]
    else:
        programs = [
            program for stage in compiled.stages for group in stage.programs for program in group
        ]
    if not programs:
        raise DaqkfError("the array has nothing to do: no kernel of the network is on it")
    every = [compiled_steps(program) for program in programs]
    return _prediction(every, config, device, clock)


def _prediction(
    programs: list[list[Step]], config: ArrayConfig, device: Device, clock: float
) -> Prediction:
    timing = None
    if config.memory_bits:
        memory = load_channels(device.memories[0])
        timing = memory.behind(config.memory_ports).timing(clock, config)
    cycles = sum(tile_cycles_of(steps, config, timing).total for steps in programs)
    needs = engine_needs(replace(config, queue=False), device.fabric)
    return Prediction(cycles, config.lanes, needs, device)


def least(machine: Machine, shape: tuple[int, int], device: Device, clock: float) -> Prediction:
    """What every array of a machine takes at least, whatever the weights of a layer [K, N] are.

    Args:
        machine: the organisation.
        shape: K and N; (1, 1) if they are not known.
        device: that the array is to be on.
        clock: in Hz.

    Raises:
        ValueError: no array is so.
        UnknownEngineError: nothing says what such an array takes of the device.
    """
    features, outputs = min(shape[0], machine.most_features), min(shape[1], machine.result_depth)
    plain = replace(
        machine.without_units(), partial_depth=0, queue=False, wide_results=False, top_k=0
    )
    modular = any(FAMILIES[name].modular for name in machine.families)
    sums = PRODUCT_BITS if modular else _NARROW
    own: dict[str, Any] = asdict(plain) | {
        "activation_depth": activation_rows(features, plain),
        "parameter_depth": memory_depth(-(-outputs // plain.pes)),
        "result_depth": memory_depth(max(outputs, 2 * plain.features_together)),
        "stream_depth": plain.stream_depth if plain.memory_bits else 2,
    }
    config = ArrayConfig(**own, running_sum_width=_NARROW, accumulator_width=sums, sum_width=sums)
    return _prediction([[KernelWork(features, outputs, 1)]], config, device, clock)
