# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Language models for plans: the shapes of their kernels, and what an output of each takes.

A sample of the outputs of each kernel is pruned, gets levels, is compiled and encoded, and stands
for all of them. The weights of SmolLM2 are its own, those of larger models are drawn from a normal
distribution: what counts is how many levels and gaps there are, and not which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import FunctionType, ModuleOp, i8, i32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from daqkf.compiler.language_models import load_language_model
from daqkf.compiler.options import level_set
from daqkf.dialects.dense import from_array
from daqkf.dialects.spaq import ConstantOp, MatmulOp, RequantizeOp
from daqkf.dialects.spaq.ops import activations
from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.numerics import MULTIPLIER_MAX
from daqkf.lowering.frontends.decoder import DecoderConfig
from daqkf.lowering.frontends.gguf.file import GgufFile
from daqkf.passes.progress import Progress, silent
from daqkf.passes.quantize.levels import fit
from daqkf.passes.quantize.pruning import magnitude_prune
from daqkf.planning.decoding import Decoding, Turn
from daqkf.planning.workload import Product
from daqkf.studies.bench.device import compiled_functions
from daqkf.studies.smollm2.packaged import find_smollm2
from daqkf.support.errors import DaqkfError

Floats = NDArray[np.float32]
Levels = NDArray[np.int8]

SAMPLE = 128
"""Outputs of a kernel that are compiled."""

TARGET = "wide-coded"
"""Its elements and its code of streams are those of all plans."""

_RESULTS = 4096
"""Outputs of a kernel that run at a time."""

_SPREAD = 40.0
"""The standard deviation of results, of activations of all values alike."""

_ACTIVATIONS = 74.0
"""The standard deviation of these."""

_SHIFT = 22
"""By which results are divided, behind a multiplier."""

MODELS: Mapping[str, DecoderConfig | None] = {
    "smollm2": None,
    "llama2-7b": DecoderConfig(
        layers=32,
        width=4096,
        hidden=11008,
        heads=32,
        groups=32,
        features=128,
        vocabulary=32000,
        epsilon=1e-5,
        context=4096,
    ),
    "llama3-8b": DecoderConfig(
        layers=32,
        width=4096,
        hidden=14336,
        heads=32,
        groups=8,
        features=128,
        vocabulary=128256,
        epsilon=1e-5,
        context=8192,
    ),
}
"""The shapes of models by name (Touvron et al., "Llama 2", 2023; Grattafiori et al., "The Llama 3
Herd of Models", 2024); without any, they are those of the packaged file."""


@dataclass(frozen=True)
class Shape:
    """A kernel of a layer, or the output: matrices side by side that read the same activations."""

    name: str
    features: int
    outputs: int
    tensors: tuple[str, ...]
    """Of a layer, as GGUF files call them."""


def shapes(config: DecoderConfig) -> list[Shape]:
    """The kernels of a layer, in order, and the output."""
    heads, groups = config.heads * config.features, config.groups * config.features
    return [
        Shape("attention.in", config.width, heads + 2 * groups, ("attn_q", "attn_k", "attn_v")),
        Shape("attention.out", heads, config.width, ("attn_output",)),
        Shape("ffn.gate_up", config.width, 2 * config.hidden, ("ffn_gate", "ffn_up")),
        Shape("ffn.down", config.hidden, config.width, ("ffn_down",)),
        Shape("output", config.width, config.vocabulary, ()),
    ]


def cache_bytes(config: DecoderConfig, context: int, bits: int) -> float:
    """Keys and values of so many earlier tokens and the own one, of so many bits each."""
    return config.layers * 2 * config.groups * config.features * (context + 1) * bits / 8


def attention_products(config: DecoderConfig, context: int) -> int:
    """Products of a token with the keys and values of so many earlier ones and its own."""
    return config.layers * 2 * config.heads * config.features * (context + 1)


@dataclass(frozen=True)
class Weights:
    """Where the weights of a model come from."""

    name: str
    config: DecoderConfig
    file: GgufFile | None
    """None where weights are drawn."""

    @classmethod
    def of(cls, name: str) -> "Weights":
        """Those of one of `MODELS`.

        Raises:
            DaqkfError: there is no such model.
            ModelNotFoundError, ModelFileError: SmolLM2 is not installed, or is another file.
        """
        if name not in MODELS:
            raise DaqkfError(f"unknown model '{name}' (known: {', '.join(MODELS)})")
        config = MODELS[name]
        if config is not None:
            return cls(name, config, None)
        path = find_smollm2()
        return cls(name, load_language_model(path).config, GgufFile(path))

    def matrix(self, shape: Shape, layer: int) -> Floats:
        """The weights [K, N] of a kernel of a layer, from its file."""
        assert self.file is not None
        if not shape.tensors:
            return self.file.read("token_embd.weight").T
        parts = [self.file.read(f"blk.{layer}.{name}.weight").T for name in shape.tensors]
        return np.concatenate(parts, axis=1)

    def sample(self, shape: Shape, sparsity: float) -> Floats:
        """[K, SAMPLE] outputs of a kernel, pruned by magnitude."""
        if self.file is None:
            rng = np.random.default_rng(shape.features)
            drawn = rng.standard_normal((shape.features, SAMPLE), np.float32)
            return magnitude_prune(drawn, sparsity)
        layers = (0, self.config.layers // 2) if shape.tensors else (0,)
        found: list[Floats] = []
        for layer in layers:
            # Which weights are small is seen well enough from some of the outputs.
            places = np.linspace(0, shape.outputs - 1, min(8 * SAMPLE, shape.outputs))
            pruned = magnitude_prune(self.matrix(shape, layer)[:, places.astype(int)], sparsity)
            own = np.linspace(0, pruned.shape[1] - 1, SAMPLE // len(layers)).astype(int)
            found.append(pruned[:, own])
        return np.concatenate(found, axis=1)


def factors_of(levels: Levels) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The multipliers and shifts [N] that spread the results of levels [K, N] over int8."""
    deviation = _ACTIVATIONS * np.sqrt(np.square(levels.astype(np.float64)).sum(axis=0))
    factors = np.rint(_SPREAD / np.maximum(deviation, 1) * 2**_SHIFT)
    multipliers = np.clip(factors, 1, MULTIPLIER_MAX).astype(np.int32)
    return multipliers, np.full(levels.shape[1], _SHIFT, np.int32)


def level_function(name: str, levels: Levels) -> FuncOp:
    """A kernel of levels [K, N] from int8 to int8, whose results are spread over their range."""
    channels = levels.shape[1]
    block = Block(arg_types=[activations(len(levels), i8)])
    weights = ConstantOp(from_array(levels, i8))
    product = MatmulOp(block.args[0], weights.result, activations(channels, i32))
    multipliers, shifts = (from_array(each, i32) for each in factors_of(levels))
    result = RequantizeOp(product.result, multipliers, shifts)
    block.add_ops([weights, product, result, ReturnOp(result.result)])
    kind = FunctionType.from_lists(list(block.arg_types), [result.result.type])
    return FuncOp(name, kind, Region(block))


def coded_machine(features: int) -> Machine:
    """A machine of one element of the target, for kernels of so many features, or of half as many
    or fewer in each of several parts."""
    depth = min(max(1024, 1 << features.bit_length()), 4096)
    return replace(
        load_target(TARGET).machine,
        pes=1,
        lanes=1,
        post_lanes=1,
        activation_depth=depth,
        parameter_depth=_RESULTS,
        result_depth=_RESULTS,
        partial_depth=_RESULTS,
        residual_depth=0,
        wide_results=False,
    )


def layer_levels(weights: Weights, sparsity: float, magnitudes: int) -> dict[str, Levels]:
    """The levels [K, N] of kernels of a layer that can be simulated, by name.

    Those of a file's first layer; or where weights are drawn, of the projection behind attention
    alone, as many as of a sample again and again.
    """
    wanted, found = level_set(f"uniform-{magnitudes}"), dict[str, Levels]()
    for shape in shapes(weights.config)[:-1]:
        if weights.file is not None:
            pruned = magnitude_prune(weights.matrix(shape, 0), sparsity)
            found[shape.name] = fit(pruned, wanted).levels
        elif shape.features == shape.outputs:
            levels = fit(weights.sample(shape, sparsity), wanted).levels
            found[shape.name] = levels[:, np.arange(shape.outputs) % SAMPLE]
    return found


@dataclass(frozen=True)
class Sampled:
    """A model whose kernels were compiled for a share of zeros and a number of magnitudes."""

    weights: Weights
    sparsity: float
    magnitudes: int
    turns: Sequence[Turn]
    """Those of a layer, and the output."""
    config: ArrayConfig
    """Of the array of one element that they were compiled for."""
    nonzeros: float
    """The share of weights that are none."""

    @classmethod
    def of(
        cls, weights: Weights, sparsity: float, magnitudes: int, progress: Progress = silent
    ) -> "Sampled":
        """Compile samples of a model's kernels.

        Raises:
            DaqkfError: levels of so many magnitudes are not known.
        """
        every, functions = shapes(weights.config), list[FuncOp]()
        levels: list[Levels] = []
        for shape in every:
            progress(f"{weights.name}: {shape.name}")
            wanted = level_set(f"uniform-{magnitudes}")
            levels.append(fit(weights.sample(shape, sparsity), wanted).levels)
            functions.append(level_function(shape.name, levels[-1]))
        machine = coded_machine(max(shape.features for shape in every))
        work = compiled_functions(ModuleOp(functions), machine, progress)
        parts, turns = list[Product](), list[Turn]()
        for program in work.programs:
            (part,) = program.parts
            assert isinstance(part, Product)
            parts.append(part)
            if not program.keeps:
                shape = every[len(turns)]
                times = weights.config.layers if shape.tensors else 1
                turns.append(Turn(shape.name, [_whole(one, shape) for one in parts], times))
                parts = []
        sizes = [
            shape.features * shape.outputs * turn.times
            for shape, turn in zip(every, turns, strict=True)
        ]
        shares = [np.count_nonzero(each) / each.size for each in levels]
        config = replace(work.config, result_depth=_RESULTS)
        if any(len(turn.parts) > 1 for turn in turns):
            config = replace(config, partial_depth=_RESULTS)
        nonzeros = float(np.average(shares, weights=sizes))
        return cls(weights, sparsity, magnitudes, turns, config, nonzeros)

    def decoding(
        self, cache: float, sequences: int = 1, lanes: int = 1, host: float = 0.0
    ) -> Decoding:
        """What a token has engines do; see `Decoding`."""
        *layer, output = self.turns
        return Decoding(layer, output, self.config, cache, sequences, lanes, host)

    def dense(self) -> "Sampled":
        """The same kernels for elements that multiply all weights, of 8 bits each."""
        widest = max(part.features for turn in self.turns for part in turn.parts)
        # Sums of products of 8 bits need all bits that the longest part fills.
        width = (widest << _PRODUCT_BITS).bit_length() + 1
        config = replace(
            self.config,
            families=("dense",),
            multiplier="packed",
            stream_code="plain",
            lanes=2,
            post_lanes=2,
            accumulator_width=width,
            sum_width=width,
        )
        turns = [replace(turn, parts=[_dense(part) for part in turn.parts]) for turn in self.turns]
        return replace(self, turns=turns, config=config)


_PRODUCT_BITS = 15
"""Of a product of an activation and a weight, with what packing adds, without its sign."""


def _whole(sample: Product, shape: Shape) -> Product:
    """A kernel whose outputs are like those of a sample."""
    assert sample.bits is not None
    return Product(
        sample.features,
        np.resize(sample.costs, shape.outputs),
        np.resize(sample.bits, shape.outputs),
    )


def _dense(part: Product) -> Product:
    """The same for elements that multiply all weights."""
    return Product(part.features, np.full(part.outputs, part.features, np.int64))
