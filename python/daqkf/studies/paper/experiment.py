# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The paper's experiment: a static dense array of 8 bits against DAQKF, at five shares of zeros.

The network is MiniLM's encoder, all 36 layers, pruned as a whole; a sample is a sentence of 128
tokens. Three comparisons, each at one clock for all arrays:

- **equal logic**: arrays of 4 elements of 8 lanes out of LUTs, as yosys maps them; work per second
  and LUT, loading of activations included;
- **the device filled**: engines by the planner, in DSP blocks for the baseline, for an xcvu9p with
  four channels of DDR4;
- **equal DSP blocks**: work per second and DSP block of the same engines.

The baseline is dense, has levels of 8 bits and runs each layer by itself. DAQKF's kernels are
merged and chained in what the energy of equal logic counts of external memory; in all else its
layers are by themselves, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.compiler.network import compile_network
from daqkf.compiler.options import NetworkOptions
from daqkf.passes.progress import silent
from daqkf.passes.quantize.weights import integer_weights
from daqkf.planning.plan import Plan
from daqkf.studies.bench.array import Measurement, contenders, measure, tuning_machine
from daqkf.studies.bench.device import DENSE, ULTRA, Bench, Filling, Works, fill
from daqkf.studies.bench.workload import Workload, load_workload
from daqkf.studies.minilm.model import MiniLM, load_calibration
from daqkf.studies.minilm.network import SentenceEmbedding, inputs_of, network_of
from daqkf.studies.paper.energy import Events, Interval, rows_of

BASELINE, OURS = "dense", "running-sum-8"
"""The arrays of equal logic."""

ACCURACY = 0.99
DEVICE, FABRIC = "xcvu9p", "xcup"
TOKENS = 128
"""Of a sample."""

PLAIN = "generic"
"""A target that chains kernels, and has no unit for rows."""

_FEW = 32
"""Sentences that calibrate a network of which only the bytes count."""

_MULTIPLIERS = ("daqkf_booth_lane",)
"""Modules that a DSP block stands for: products and their sums."""

_PRODUCTS_OF_A_BLOCK = 2


@dataclass(frozen=True)
class Prepared:
    """What a network of one share of zeros keeps, by the share of tokens that are replaced."""

    cosine: float
    """To W8A8."""
    baseline: Mapping[float, float]
    """Mean cosine of W8A8 to the dense float model."""
    ours: Mapping[float, float]


def prepare(sparsity: float) -> Prepared:
    """Prune and quantise MiniLM for both arrays; it is kept in the cache."""
    plain, tuned = workloads(sparsity)
    return Prepared(tuned.cosine, plain.noisy, tuned.noisy)


def workloads(sparsity: float) -> tuple[Workload, Workload]:
    """In 8 bits, and with levels that keep `ACCURACY`."""
    machine = tuning_machine()
    tuned = load_workload(sparsity, ACCURACY, machine)  # makes the other one, too
    return load_workload(sparsity, None, machine), tuned


def equal_logic(item: tuple[str, float]) -> Measurement:
    """An array of `BASELINE` or `OURS` at a share of zeros."""
    name, sparsity = item
    (found,) = measure(
        next(each for each in contenders() if each.name == name),
        sparsity,
        [FABRIC],
        accuracy=ACCURACY,
        seeds=(),
        count_toggles=True,
        count_glitches=True,
        progress=silent,
    )
    return found


@dataclass(frozen=True)
class Filled:
    """A device with each array, and what a token brings along."""

    baseline: Filling
    ours: Filling
    products: int
    """Of a token, zeros included."""
    moved: float
    """Bytes of activations and results of a token, each layer by itself."""
    fused: float
    """The same, with kernels that are merged and chained."""


def port_bytes(target: str, **named: Any) -> float:
    """Bytes of a token over the ports in MiniLM's first encoder layer.

    Args:
        target: the array.
        named: what else `NetworkOptions` is given.
    """
    model = MiniLM.load()
    options = NetworkOptions(
        levels="uniform-15",  # which weights there are does not matter
        second_order=False,
        target=target,
        measure=SentenceEmbedding(),
        **named,
    )
    calibration = inputs_of(model, load_calibration()[:_FEW])
    found = compile_network(network_of(model, 1), options, calibration=calibration)
    return sum(row["in"] + row["out"] for row in found.traffic())


def filled(item: tuple[float, float, float]) -> Filled:
    """`DEVICE` filled at a share of zeros, a clock in Hz and a share that may be used."""
    sparsity, clock, use = item
    works = Works.of(workloads(sparsity)[1])
    layers = integer_weights([works.network.module()])
    base, ours = fill(Bench.of(DEVICE, clock, use), works, (DENSE, ULTRA))
    shapes = [np.shape(levels) for levels in layers]
    return Filled(
        base,
        ours,
        sum(features * outputs for features, outputs in shapes),
        sum(features + outputs for features, outputs in shapes),
        MiniLM.load().architecture.layers * port_bytes(PLAIN, fuse=True),
    )


@dataclass(frozen=True)
class Row:
    """Everything at one share of zeros."""

    sparsity: float
    clock: float
    """In Hz, of all arrays."""
    prepared: Prepared
    baseline: Measurement
    ours: Measurement
    device: Filled

    @property
    def speedup(self) -> float:
        """At equal logic."""
        return self.ours.loaded_work_per_lut() / self.baseline.loaded_work_per_lut()

    @property
    def device_speedup(self) -> float:
        """With the device filled."""
        return self.device.ours.rate / self.device.baseline.rate

    @property
    def dsp_speedup(self) -> float:
        """At equal DSP blocks."""
        base, ours = self.device.baseline, self.device.ours
        return self.device_speedup * base.needs.dsps / ours.needs.dsps

    @property
    def fillings(self) -> tuple[Filling, Filling]:
        """The device with the baseline and with ours."""
        return self.device.baseline, self.device.ours

    def samples(self, filling: Filling) -> float:
        """Samples a second of a device that is filled."""
        return filling.rate * self.clock / self.device.products / TOKENS

    def latency(self, filling: Filling) -> float:
        """Seconds of a sample alone: its tiles in as many engines of the quickest kind."""

        def alone(plan: Plan) -> float:
            tiles = -(-TOKENS // plan.config.lanes)
            return plan.alone.cycles / plan.clock * -(-tiles // plan.engines)

        return min(map(alone, filling.plans))

    @cached_property
    def events(self) -> Mapping[str, Events]:
        """Of a token: both arrays of equal logic, and the device filled with each."""
        base, ours = self._array(self.baseline), self._array(self.ours)
        return {
            BASELINE: replace(base, memory=8 * self.device.moved),
            OURS: replace(ours, memory=8 * self.device.fused),
            DENSE: self._device(self._with_blocks(base), self.device.baseline),
            ULTRA: self._device(ours, self.device.ours),
        }

    def _array(self, row: Measurement) -> Events:
        """Of all layers, from those of the layer that was simulated by their cycles."""
        counted = row.glitches
        assert counted is not None
        cycles = row.cycles + row.load_cycles
        lanes = self._lanes
        times = cycles / counted.cycles / lanes
        return Events(
            pin=counted.weighted * times,
            lut=counted.toggles * times,
            clock=row.resources.counts.flip_flops * cycles / lanes,
            block_ram=rows_of(counted.memory_bits) * times,
            leakage=row.luts * cycles / self.clock / lanes,
        )

    @property
    def _lanes(self) -> int:
        return next(each for each in contenders() if each.name == BASELINE).machine.lanes

    def _with_blocks(self, dense: Events) -> Events:
        """The dense array, its products in DSP blocks."""
        assert self.baseline.glitches is not None
        modules = self.baseline.glitches.modules
        share = sum(modules.get(name, 0) for name in _MULTIPLIERS) / sum(modules.values())
        return Events(
            pin=dense.pin * (1 - share),
            lut=dense.lut * (1 - share),
            clock=dense.clock,
            block_ram=dense.block_ram,
            dsp=self.device.products / _PRODUCTS_OF_A_BLOCK,
        )

    def _device(self, array: Events, filling: Filling) -> Events:
        """With the traffic of external memory, and the leakage of all of the device."""
        tokens = filling.rate * self.clock / self.device.products
        return Events(
            pin=array.pin,
            lut=array.lut,
            clock=array.clock,
            block_ram=array.block_ram,
            dsp=array.dsp,
            memory=8 * filling.traffic / tokens,
            leakage=filling.device.luts / tokens,
        )

    def gain(self, base: str, ours: str) -> Interval:
        """How many times less energy a token takes."""
        return Interval.of(self.events[base].energy() / self.events[ours].energy())

    def samples_per_joule(self, array: str) -> Interval:
        """Samples a second and watt."""
        drawn: NDArray[np.float64] = 1 / (TOKENS * self.events[array].energy())
        return Interval.of(drawn)

    @property
    def energy_gain(self) -> Interval:
        """At equal logic."""
        return self.gain(BASELINE, OURS)

    @property
    def unfused_energy_gain(self) -> Interval:
        """At equal logic, if DAQKF moved the bytes of each layer by itself, as the baseline."""
        base = self.events[BASELINE]
        ours = replace(self.events[OURS], memory=base.memory)
        return Interval.of(base.energy() / ours.energy())

    @property
    def device_energy_gain(self) -> Interval:
        """With the device filled."""
        return self.gain(DENSE, ULTRA)

    @property
    def glitching(self) -> tuple[float, float]:
        """Toggles with glitches over those without, of both arrays of equal logic."""

        def share(row: Measurement) -> float:
            assert row.glitches is not None and row.toggles is not None
            return row.glitches.weighted / row.toggles.weighted

        return share(self.baseline), share(self.ours)

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        fillings = {"baseline": self.device.baseline, "ours": self.device.ours}
        return {
            "sparsity": self.sparsity,
            "equal_logic": {
                "speedup": self.speedup,
                "energy_gain": vars(self.energy_gain),
                "unfused_energy_gain": vars(self.unfused_energy_gain),
                "baseline": self.baseline.facts(),
                "ours": self.ours.facts(),
                "glitching": self.glitching,
            },
            "device": {
                "speedup": self.device_speedup,
                "dsp_speedup": self.dsp_speedup,
                "energy_gain": vars(self.device_energy_gain),
                "samples_per_second": {n: self.samples(f) for n, f in fillings.items()},
                "latency_ms": {n: 1e3 * self.latency(f) for n, f in fillings.items()},
                **{name: one.facts() for name, one in fillings.items()},
            },
            "samples_per_joule": {name: vars(self.samples_per_joule(name)) for name in self.events},
            "energy": {name: one.facts() for name, one in self.events.items()},
            "accuracy": {
                "to_w8a8": self.prepared.cosine,
                "to_dense_by_noise": {
                    "baseline": {str(k): v for k, v in self.prepared.baseline.items()},
                    "ours": {str(k): v for k, v in self.prepared.ours.items()},
                },
            },
        }
