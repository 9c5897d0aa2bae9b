# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""MiniLM's encoder as an ONNX model, from its real weights.

Inputs `input_ids` and `attention_mask`, int64 [B, L]; output `last_hidden_state`, float32
[B, L, hidden]. Or the layers alone: `hidden_states`, float32 [B, L, hidden], in place of the ids.
The normalisations and GELU are operators of their own, or decomposed as older exporters write them.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.errors import from_extra
from daqkf.studies.minilm.model import MiniLM

OPSET = 20
"""The first one with Gelu."""

_IR_VERSION = 10


def export_minilm(
    model: MiniLM,
    layers: int | None = None,
    decomposed: bool = False,
    embedded: bool = False,
) -> Any:
    """An `onnx.ModelProto` of the encoder, of its first `layers` if given.

    With `embedded`, it begins with the embedded tokens.

    Raises:
        ValueError: it has fewer layers.
    """
    with from_extra("onnx"):
        from onnx import TensorProto, helper

    count = model.architecture.layers if layers is None else layers
    if not 0 <= count <= model.architecture.layers:
        raise ValueError(f"the encoder has {model.architecture.layers} layers, not {count}")
    writer = _Writer(model, decomposed)
    writer.mask()
    x = "hidden_states" if embedded else writer.embeddings()
    for layer in range(count):
        x = writer.layer(f"layer.{layer}", x)
    writer.node("Identity", [x], "last_hidden_state")
    tokens = ["batch", "length"]

    def whole(name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.INT64, tokens)

    def states(name: str) -> Any:
        shape = [*tokens, model.architecture.hidden]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        writer.nodes,
        "minilm",
        [states("hidden_states") if embedded else whole("input_ids"), whole("attention_mask")],
        [states("last_hidden_state")],
        writer.constants,
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="daqkf",
    )


class _Writer:
    """The nodes and constants of a graph under way; values are their names."""

    def __init__(self, model: MiniLM, decomposed: bool):
        self.model, self.decomposed = model, decomposed
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._known: set[str] = set()

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """A node of one output, by whose name it goes, too."""
        with from_extra("onnx"):
            from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), [output], output, **attributes))
        return output

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """A constant, once for each name."""
        with from_extra("onnx"):
            from onnx import numpy_helper

        if name not in self._known:
            self._known.add(name)
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def weight(self, name: str) -> str:
        """A weight of the model, under its name there."""
        return self.constant(name, self.model.weights[name])

    def scalar(self, value: float) -> str:
        return self.constant(f"scalar.{value:g}", np.array(value, np.float32))

    def vector(self, *values: int) -> str:
        return self.constant(f"vector.{values}", np.array(values, np.int64))

    def mask(self) -> str:
        """What scores of padding are lowered by, [B, 1, 1, L]."""
        mask = self.node("Unsqueeze", ["attention_mask", self.vector(1, 2)], "mask.wide")
        zero = self.constant("zero", np.array(0, np.int64))
        seen = self.node("Greater", [mask, zero], "mask.seen")
        least = self.constant("least", np.array(np.finfo(np.float32).min, np.float32))
        return self.node("Where", [seen, self.scalar(0), least], "mask.bias")

    def embeddings(self) -> str:
        """Token, position and segment embeddings, normalised."""
        ids, weights = "input_ids", self.model.weights
        shape = self.node("Shape", [ids], "ids.shape")
        length = self.node("Gather", [shape, self.vector(1)], "ids.length")
        bounds = [self.vector(0), length, self.vector(0)]
        position = self.weight("embeddings.position")
        position = self.node("Slice", [position, *bounds], "embeddings.positions")
        word = self.node("Gather", [self.weight("embeddings.word"), ids], "embeddings.words")
        x = self.node("Add", [word, position], "embeddings.placed")
        segment = self.constant("embeddings.segment.0", weights["embeddings.segment"][0])
        x = self.node("Add", [x, segment], "embeddings.sum")
        return self.norm("embeddings.norm", x)

    def linear(self, name: str, x: str) -> str:
        product = self.node("MatMul", [x, self.weight(f"{name}.weight")], f"{name}.product")
        return self.node("Add", [product, self.weight(f"{name}.bias")], name)

    def layer(self, name: str, x: str) -> str:
        """Attention and feed-forward, each with its residual and its normalisation."""
        arch, attention, ffn = self.model.architecture, f"{name}.attention", f"{name}.ffn"
        heads = self.vector(0, 0, arch.heads, arch.hidden // arch.heads)
        orders = {"query": [0, 2, 1, 3], "key": [0, 2, 3, 1], "value": [0, 2, 1, 3]}
        parts: dict[str, str] = {}
        for part, order in orders.items():
            own = f"{attention}.{part}"
            split = self.node("Reshape", [self.linear(own, x), heads], f"{own}.heads")
            parts[part] = self.node("Transpose", [split], f"{own}.split", perm=order)
        scores = self.node("MatMul", [parts["query"], parts["key"]], f"{attention}.scores")
        scale = self.scalar(1 / math.sqrt(arch.hidden // arch.heads))
        scores = self.node("Mul", [scores, scale], f"{attention}.scaled")
        scores = self.node("Add", [scores, "mask.bias"], f"{attention}.masked")
        shares = self.node("Softmax", [scores], f"{attention}.shares", axis=-1)
        mixed = self.node("MatMul", [shares, parts["value"]], f"{attention}.context")
        mixed = self.node("Transpose", [mixed], f"{attention}.joined", perm=[0, 2, 1, 3])
        mixed = self.node("Reshape", [mixed, self.vector(0, 0, arch.hidden)], f"{attention}.mixed")
        y = self.linear(f"{attention}.output", mixed)
        x = self.norm(f"{attention}.norm", self.node("Add", [x, y], f"{attention}.residual"))
        inner = self.gelu(f"{ffn}.gelu", self.linear(f"{ffn}.up", x))
        y = self.linear(f"{ffn}.down", inner)
        return self.norm(f"{ffn}.norm", self.node("Add", [x, y], f"{ffn}.residual"))

    def norm(self, name: str, x: str) -> str:
        epsilon = self.model.architecture.epsilon
        gamma, beta = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        if not self.decomposed:
            return self.node("LayerNormalization", [x, gamma, beta], name, epsilon=epsilon)
        last = self.vector(-1)
        mean = self.node("ReduceMean", [x, last], f"{name}.mean")
        centred = self.node("Sub", [x, mean], f"{name}.centred")
        squares = self.node("Pow", [centred, self.scalar(2)], f"{name}.squares")
        variance = self.node("ReduceMean", [squares, last], f"{name}.variance")
        shifted = self.node("Add", [variance, self.scalar(epsilon)], f"{name}.shifted")
        deviation = self.node("Sqrt", [shifted], f"{name}.deviation")
        scaled = self.node("Div", [centred, deviation], f"{name}.scaled")
        return self.node("Add", [self.node("Mul", [scaled, gamma], f"{name}.mul"), beta], name)

    def gelu(self, name: str, x: str) -> str:
        if not self.decomposed:
            return self.node("Gelu", [x], name)
        halved = self.node("Div", [x, self.scalar(math.sqrt(2))], f"{name}.div")
        erf = self.node("Erf", [halved], f"{name}.erf")
        one = self.node("Add", [erf, self.scalar(1)], f"{name}.add")
        product = self.node("Mul", [x, one], f"{name}.mul")
        return self.node("Mul", [product, self.scalar(0.5)], name)
