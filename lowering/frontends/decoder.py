# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Decoders of text → `nn`, from what a file says of their architecture and from its tensors.

They are those of the family of LLaMA (Touvron et al., "LLaMA: Open and Efficient Foundation
Language Models", 2023): pre-normalised layers of grouped-query attention with rotary embedding, and
of a feed-forward network with a gate. Letters in shapes: T tokens, S tokens before them, H heads of
queries, G heads of keys and values, D features of a head.
"""

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    FunctionType,
    ModuleOp,
    StringAttr,
    TensorType,
    f32,
    i64,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue

from daqkf.dialects.dense import from_array
from daqkf.dialects.diagnostics import verify
from daqkf.dialects.errors import DaqkfError
from daqkf.dialects.interpreting import ENTRY
from daqkf.dialects.memory import require_memory
from daqkf.dialects.nn import (
    CachedAttentionOp,
    ConstantOp,
    ElementwiseOp,
    GatherOp,
    MatmulOp,
    ReshapeOp,
    RmsNormOp,
    RotaryOp,
)
from daqkf.dialects.nn.base import NODE
from daqkf.lowering.frontends.text import TextCodec

Floats = NDArray[np.float32]

TOKENS, POSITIONS, LOGITS = "tokens", "positions", "logits"
"""Inputs and the output of a decoder, beside keys and values of each layer."""

OUTPUT = "output"
"""The product that gives the logits."""

PRODUCTS = ("query", "key", "value", "output", "gate", "up", "down")
"""The matrices of a layer."""

_MOST = 1 << 31
"""Above any extent that a model has."""


def cache_names(layers: int, when: str) -> list[str]:
    """What the keys and values of all layers are called that are `past` or `present`."""
    return [f"{when}_{part}.{i}" for i in range(layers) for part in ("keys", "values")]


@dataclass(frozen=True)
class DecoderConfig:
    """The architecture of a decoder."""

    layers: int
    width: int
    """Features of a token's state."""
    hidden: int
    """Features inside of a feed-forward network."""
    heads: int
    """H, heads of queries."""
    groups: int
    """G, heads of keys and values."""
    features: int
    """D, features of a head."""
    vocabulary: int
    """Tokens that the model knows."""
    epsilon: float
    """Of normalisations."""
    context: int
    """Tokens that it was made for, which nothing here checks."""
    base: float = 10000.0
    """Of the rotary embedding, as in `nn.rotary`."""
    pairs: str = "halves"
    """Which features turn together, `halves` or `neighbours`."""
    turning: int | None = None
    """How many features of a head turn; None for all."""
    factors: tuple[float, ...] | None = None
    """What the frequencies of the rotary embedding are divided by."""
    tied: bool = False
    """Whether the embedding is the matrix of the output as well."""
    biases: frozenset[str] = frozenset()
    """Those of `PRODUCTS` that add a bias."""
    head_norms: bool = False
    """Whether queries and keys of each head are normalised."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: no decoder has these.
        """
        extents = ("layers", "width", "hidden", "heads", "groups", "features", "vocabulary")
        for name in (*extents, "context"):
            if not 0 < getattr(self, name) < _MOST:
                raise ValueError(f"a decoder of {getattr(self, name)} {name}")
        if self.heads % self.groups:
            raise ValueError(f"{self.heads} heads do not share {self.groups} of keys and values")
        turning = self.features if self.turning is None else self.turning
        if turning % 2 or not 0 < turning <= self.features:
            raise ValueError(f"{turning} of {self.features} features of a head cannot turn")
        if not (math.isfinite(self.base) and self.base > 0):
            raise ValueError(f"a rotary embedding of base {self.base}")
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise ValueError(f"a normalisation with epsilon {self.epsilon}")
        if self.factors is not None and (
            len(self.factors) != turning // 2
            or not all(math.isfinite(factor) and factor > 0 for factor in self.factors)
        ):
            raise ValueError(f"the rotary embedding needs {turning // 2} positive factors")

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The names and shapes of the tensors; matrices are [N, K], for K features to N."""
        yield "embedding.weight", (self.vocabulary, self.width)
        queries, keys = self.heads * self.features, self.groups * self.features
        matrices = {
            "attention.query": (queries, self.width),
            "attention.key": (keys, self.width),
            "attention.value": (keys, self.width),
            "attention.output": (self.width, queries),
            "ffn.gate": (self.hidden, self.width),
            "ffn.up": (self.hidden, self.width),
            "ffn.down": (self.width, self.hidden),
        }
        for i in range(self.layers):
            layer = f"layers.{i}"
            yield f"{layer}.attention.norm.weight", (self.width,)
            yield f"{layer}.ffn.norm.weight", (self.width,)
            if self.head_norms:
                yield f"{layer}.attention.query_norm.weight", (self.features,)
                yield f"{layer}.attention.key_norm.weight", (self.features,)
            for name, shape in matrices.items():
                yield f"{layer}.{name}.weight", shape
                if name.partition(".")[2] in self.biases:
                    yield f"{layer}.{name}.bias", shape[:1]
        yield "norm.weight", (self.width,)
        if not self.tied:
            yield "output.weight", (self.vocabulary, self.width)


@dataclass(frozen=True)
class Tensors:
    """The tensors of a file, by the names that they have there."""

    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], NDArray[Any]]
    """Gives one of them, in numbers that float32 holds; raises a ValueError that names it."""
    called: Callable[[str], str]
    """What the file calls a tensor of `DecoderConfig.tensors`."""


@dataclass(frozen=True)
class TensorNames:
    """How a format names the tensors of `DecoderConfig.tensors`."""

    layers: str
    """What the names of a layer's tensors begin with, before the layer's number."""
    layer: Mapping[str, str]
    """What it calls a part of a layer."""
    outer: Mapping[str, str]
    """What it calls a part of the model beside the layers."""

    def of(self, name: str) -> str:
        """What it calls a tensor."""
        stem, _, end = name.rpartition(".")
        if not stem.startswith("layers."):
            return f"{self.outer[stem]}.{end}"
        _, layer, part = stem.split(".", 2)
        return f"{self.layers}.{layer}.{self.layer[part]}.{end}"


@dataclass(frozen=True)
class LanguageModel:
    """A language model in a file, whose parts are read when they are asked for."""

    config: DecoderConfig
    network: Callable[[], ModuleOp]
    """Makes what `import_decoder` does; raises as that."""
    text: Callable[[], TextCodec]
    """Reads the tokeniser; raises a ValueError if it is missing, damaged or of an unknown kind."""


@contextmanager
def naming(path: Path) -> Generator[None]:
    """Put a path before messages that do not have it.

    Raises:
        ValueError: as what is in here.
    """
    try:
        yield
    except DaqkfError:
        raise
    except ValueError as error:
        message = str(error)
        raise ValueError(
            message if message.startswith(str(path)) else f"{path}: {message}"
        ) from None


def import_decoder(config: DecoderConfig, tensors: Tensors) -> ModuleOp:
    """A decoder as the function `main` of `nn` operations.

    It is a function of `tokens` [T] and `positions` [T], int64, and of past keys and values of
    each layer, [S, G, D] float32, called `past_keys.0`, `past_values.0`, `past_keys.1` …: first
    S = 0, then what the last call gave. Its results are `logits` [T, vocabulary] of the tokens that
    follow, and `present_keys.0` … [S + T, G, D]. T and S are `?`.

    Raises:
        ValueError: a tensor is missing, is one too many, has another shape, or has values that are
            not finite; or all of them take more memory than may be used.
    """
    _require_tensors(config, tensors)
    return _Builder(config, tensors).module()


def _require_tensors(config: DecoderConfig, tensors: Tensors) -> None:
    """Check the names and shapes of tensors, and what memory they take, before any is read."""
    if config.layers > len(tensors.shapes):
        raise ValueError(f"{config.layers} layers, but {len(tensors.shapes)} tensors")
    expected = {tensors.called(name): shape for name, shape in config.tensors()}
    for name, shape in expected.items():
        if name not in tensors.shapes:
            raise ValueError(f"no tensor '{name}'")
        if tensors.shapes[name] != shape:
            found = list(tensors.shapes[name])
            raise ValueError(f"tensor '{name}' has the shape {found}, not {list(shape)}")
    if surplus := sorted(set(tensors.shapes) - set(expected)):
        raise ValueError(f"tensor '{surplus[0]}' is none that this architecture has")
    counts = [math.prod(shape) for shape in expected.values()]
    # Twice the embedding where it is the output's matrix as well; one tensor more while it is read.
    size = 4 * (sum(counts) + 2 * max(counts) + (counts[0] if config.tied else 0))
    require_memory(size, "a model of this size")


class _Builder:
    """A decoder under way."""

    def __init__(self, config: DecoderConfig, tensors: Tensors):
        self.config, self.tensors = config, tensors
        cache = TensorType(f32, [DYNAMIC_INDEX, config.groups, config.features])
        numbers = TensorType(i64, [DYNAMIC_INDEX])
        past = cache_names(config.layers, "past")
        self.inputs = [TOKENS, POSITIONS, *past]
        self.block = Block(arg_types=[numbers, numbers, *[cache] * len(past)])
        for name, argument in zip(self.inputs, self.block.args, strict=True):
            argument.name_hint = name
        self._shapes: dict[int, SSAValue] = {}

    def module(self) -> ModuleOp:
        """The function `main`."""
        config = self.config
        tokens, _, *past = self.block.args
        embedding = self._read("embedding.weight")
        words = self._constant(embedding, "embedding.weight")
        state = self._add(GatherOp(words, tokens, 0, self._rows(config.width)), "embedding")
        present: list[SSAValue] = []
        for i in range(config.layers):
            cache = (past[2 * i], past[2 * i + 1])
            state, *both = self._attention(f"layers.{i}.attention", state, cache)
            present += both
            state = self._feed_forward(f"layers.{i}.ffn", state)
        state = self._normalized("norm", state)
        if not config.tied:
            embedding = self._read("output.weight")
        # A constant of its own, since products of kernels are with constants [K, N].
        matrix = self._constant(embedding.T, f"{OUTPUT}.weight")
        del embedding
        product = MatmulOp(state, matrix, self._rows(config.vocabulary))
        logits = self._add(product, OUTPUT)
        results = [logits, *present]
        self.block.add_op(ReturnOp(*results))
        kind = FunctionType.from_lists(
            list(self.block.arg_types), [result.type for result in results]
        )
        function = FuncOp(ENTRY, kind, Region(self.block))
        outputs = [LOGITS, *cache_names(config.layers, "present")]
        for key, names in (("inputs", self.inputs), ("outputs", outputs)):
            function.attributes[key] = ArrayAttr([StringAttr(name) for name in names])
        module = ModuleOp([function])
        verify(module)
        return module

    def _attention(
        self, name: str, state: SSAValue, past: tuple[SSAValue, SSAValue]
    ) -> tuple[SSAValue, SSAValue, SSAValue]:
        """The state behind the attention of a layer, and all keys and values."""
        config = self.config
        positions = self.block.args[1]
        normalized = self._normalized(f"{name}.norm", state)
        heads: dict[str, SSAValue] = {}
        counts = {"query": config.heads, "key": config.groups, "value": config.groups}
        for part, count in counts.items():
            rows = self._product(f"{name}.{part}", normalized, count * config.features)
            kind = TensorType(f32, [DYNAMIC_INDEX, count, config.features])
            split = ReshapeOp(rows, self._extents(count), kind)
            heads[part] = self._add(split, f"{name}.{part}.heads")
        for part in ("query", "key"):
            value = heads[part]
            if config.head_norms:
                value = self._normalized(f"{name}.{part}_norm", value)
            turned = RotaryOp(
                config.pairs, value, positions, config.base, config.turning, config.factors
            )
            heads[part] = self._add(turned, f"{name}.{part}.rotary")
        query, key, value = (heads[part] for part in counts)
        scale = 1 / math.sqrt(config.features)
        op = CachedAttentionOp(query, key, value, past, scale)
        result = self._add(op, f"{name}.heads")
        output = self._product(f"{name}.output", result, config.width)
        state = self._function("add", [state, output], config.width, f"{name}.residual")
        return state, op.present_keys, op.present_values

    def _feed_forward(self, name: str, state: SSAValue) -> SSAValue:
        """The state behind the feed-forward network of a layer."""
        config = self.config
        normalized = self._normalized(f"{name}.norm", state)
        gate, up = (
            self._product(f"{name}.{part}", normalized, config.hidden) for part in ("gate", "up")
        )
        gate = self._function("silu", [gate], config.hidden, f"{name}.silu")
        inner = self._function("mul", [gate, up], config.hidden, f"{name}.product")
        down = self._product(f"{name}.down", inner, config.width)
        return self._function("add", [state, down], config.width, f"{name}.residual")

    def _product(self, name: str, value: SSAValue, columns: int) -> SSAValue:
        """A product with a matrix of the file, and its bias."""
        matrix = self._constant(self._read(f"{name}.weight").T, f"{name}.weight")
        result = self._add(MatmulOp(value, matrix, self._rows(columns)), name)
        if name.rpartition(".")[2] in self.config.biases:
            bias = self._constant(self._read(f"{name}.bias"), f"{name}.bias")
            result = self._function("add", [result, bias], columns, f"{name}.sum")
        return result

    def _normalized(self, name: str, value: SSAValue) -> SSAValue:
        gamma = self._constant(self._read(f"{name}.weight"), f"{name}.weight")
        return self._add(RmsNormOp(value, gamma, self.config.epsilon), name)

    def _function(self, kind: str, values: list[SSAValue], columns: int, name: str) -> SSAValue:
        return self._add(ElementwiseOp(kind, values, self._rows(columns)), name)

    def _extents(self, heads: int) -> SSAValue:
        """The extents of tokens in heads, as a constant that is made once."""
        if heads not in self._shapes:
            extents = np.array([-1, heads, self.config.features], np.int64)
            op = ConstantOp(from_array(extents, i64))
            self._shapes[heads] = self._add(op, f"heads.{heads}")
        return self._shapes[heads]

    @staticmethod
    def _rows(columns: int) -> TensorType:
        return TensorType(f32, [DYNAMIC_INDEX, columns])

    def _read(self, name: str) -> Floats:
        """A tensor of the file in float32.

        Raises:
            ValueError: it has values that are not finite.
        """
        called = self.tensors.called(name)
        with np.errstate(over="ignore"):
            array = self.tensors.read(called).astype(np.float32, copy=False)
        finite = np.isfinite(array)
        if not finite.all():
            place = list(map(int, np.argwhere(~finite)[0]))
            raise ValueError(f"tensor '{called}' has {array[tuple(place)]} at {place}")
        return array

    def _constant(self, array: Floats, name: str) -> SSAValue:
        return self._add(ConstantOp(from_array(array, f32)), name)

    def _add(self, op: Any, name: str) -> SSAValue:
        """The first result of an operation, put into the function under a name."""
        op.attributes[NODE] = StringAttr(name)
        op.results[0].name_hint = name
        self.block.add_op(op)
        return op.results[0]
