# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How fast language models are on devices: tokens a second, and the time to the first one.

Engines of the target `wide-coded` are compared with dense ones of the same generator, and with all
that memory could give to weights of 8 and of 4 bits.
"""

from dataclasses import dataclass, replace
from typing import Any

from daqkf.passes.progress import Progress, silent
from daqkf.planning.decoding import DecodePlan, best_decoder
from daqkf.studies.bench.device import Bench
from daqkf.studies.bench.language import Sampled, attention_products, cache_bytes
from daqkf.support.errors import DaqkfError

OURS, DENSE = "ours", "dense-8"

BOUNDS = {"bound-8": 8, "bound-4": 4}
"""Bits of a weight of arrays of which nothing counts but the memory's bandwidth, all of it."""

_MORE_LANES = (2, 4, 8, 16, 32, 64)
"""Lanes of engines that decode about as fast as with one, and read prompts faster."""


@dataclass(frozen=True)
class Situation:
    """What a model is asked to do."""

    context: int = 512
    """Earlier tokens of a sequence, when it makes one more."""
    prompt: int = 128
    """Tokens that are read before the first one is made."""
    sequences: int = 1
    """In flight."""
    cache_bits: int = 8
    """Of a key or a value of a feature."""
    host: float = 0.0
    """Seconds from the last row of results of a kernel to the first one of activations of the
    next."""
    for_prompts: float = 0.01
    """The share of the tokens a second that may be given up for lanes that read prompts faster."""


@dataclass(frozen=True)
class Speed:
    """A model on a device."""

    model: str
    array: str
    device: str
    memory: str
    sparsity: float
    magnitudes: int
    decode_rate: float
    """Tokens a second of all sequences."""
    bits_per_weight: float
    """Everything included."""
    bytes_per_token: float
    """Of weights, activations, results, and keys and values, in all sequences."""
    bandwidth: float
    """The share of what the memory gives, refreshes taken off, while tokens are made."""
    bytes_per_second: float
    attention_products: int
    """Of a token of one sequence with keys and values, which the host makes."""
    prompt_rate: float | None = None
    """Tokens of a prompt a second; None where nothing says."""
    first_token: float | None = None
    """Seconds from a prompt to its first token."""
    decode: DecodePlan | None = None

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        names = (
            *("model", "array", "device", "memory", "sparsity", "magnitudes", "decode_rate"),
            *("bits_per_weight", "bytes_per_token", "bandwidth", "bytes_per_second"),
            *("attention_products", "prompt_rate", "first_token"),
        )
        return {
            **{name: getattr(self, name) for name in names},
            "decode": self.decode and self.decode.facts(),
        }


def ours(sampled: Sampled, bench: Bench, asked: Situation, progress: Progress = silent) -> Speed:
    """A model on our engines.

    Raises:
        DaqkfError: no engine fits the device.
    """
    progress(f"{sampled.weights.name} on {bench.device.name}")
    return _planned(OURS, sampled, bench, asked)


def others(
    found: Speed, sampled: Sampled, bench: Bench, asked: Situation, progress: Progress = silent
) -> list[Speed]:
    """The same model on a dense array of the same generator, and what bounds any dense one.

    Raises:
        DaqkfError: no engine fits the device.
    """
    progress(f"{found.model} on {found.device}: {DENSE}")
    dense = _planned(DENSE, sampled.dense(), bench, asked)
    return [dense, *(_bound(name, bits, found, asked) for name, bits in BOUNDS.items())]


def _planned(array: str, work: Sampled, bench: Bench, asked: Situation) -> Speed:
    config = work.weights.config
    cache = cache_bytes(config, asked.context, asked.cache_bits)

    def decoder(lanes: int) -> DecodePlan:
        own = work.decoding(cache, asked.sequences, lanes, asked.host)
        return best_decoder(own, bench.device, bench.memory, bench.clock, bench.use)

    found = plan = decoder(asked.sequences)
    for lanes in [lanes for lanes in _MORE_LANES if lanes > asked.sequences]:
        try:
            more = decoder(lanes)
        except DaqkfError:
            break
        if more.tokens_per_second < (1 - asked.for_prompts) * plan.tokens_per_second:
            break
        found = more
    pace, prompt = found.pace, found.prompt_seconds(asked.prompt)
    return Speed(
        model=work.weights.name,
        array=array,
        device=bench.device.name,
        memory=bench.memory.name,
        sparsity=work.sparsity,
        magnitudes=work.magnitudes,
        decode_rate=found.tokens_per_second,
        bits_per_weight=found.bits_per_weight,
        bytes_per_token=pace.weight_bytes + pace.moved_bytes,
        bandwidth=found.bandwidth,
        bytes_per_second=found.bytes_per_second,
        attention_products=attention_products(config, asked.context),
        prompt_rate=asked.prompt / prompt,
        first_token=prompt + pace.output_cycles / bench.clock,
        decode=found,
    )


def _bound(array: str, bits: int, found: Speed, asked: Situation) -> Speed:
    """Weights of so many bits, their scales not counted, if all of the bandwidth is used."""
    assert found.decode is not None
    memory, work = found.decode.memory, found.decode.work
    moved = work.weights * bits / 8 + asked.sequences * work.cache_bytes
    return replace(
        found,
        array=array,
        sparsity=0.0,
        magnitudes=(1 << bits - 1) - 1,
        decode_rate=asked.sequences * memory.bandwidth / moved,
        bits_per_weight=bits,
        bytes_per_token=moved,
        bandwidth=1.0,
        bytes_per_second=memory.bandwidth,
        prompt_rate=None,
        first_token=None,
        decode=None,
    )
