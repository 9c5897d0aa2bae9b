# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of decoders compute what ONNX's reference evaluator computes."""

from typing import Any

import numpy as np
import pytest
from nn_networks import CONTEXT
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from xdsl.utils.exceptions import InterpretationError

from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn.sequences import rotary_frequencies
from daqkf.support.ir import parse_module

RNG = np.random.default_rng(21)
Arrays = list[NDArray[Any]]


def normal(*shape: int) -> NDArray[np.float32]:
    return RNG.standard_normal(shape).astype(np.float32)


def run(text: str, *inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """The results of an operation, whose operands are %0, %1 … and have no known extents."""
    kinds = [f"tensor<*x{ {'f': 'f32', 'i': 'i64'}[x.dtype.kind] }>" for x in inputs]
    body = text.format(", ".join(kinds))
    results = "%y, %k, %v" if "cached" in text else "%y"
    types = ", ".join(["tensor<*xf32>"] * (results.count(",") + 1))
    arguments = ", ".join(f"%{'abcde'[i]}: {kind}" for i, kind in enumerate(kinds))
    module = parse_module(
        CONTEXT,
        f"""func.func @main({arguments}) -> ({types}) {{
          {results} = {body} -> ({types})
          func.return {results} : {types}
        }}""",
        "test",
    )
    return call(module, entry(module), inputs)


def reference(kind: str, names: list[str], inputs: Arrays, outputs: int, **attributes: Any) -> Any:
    """What ONNX makes of it."""
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(kind, names, made, **attributes)
    given = [name for name in names if name]
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in zip(given, inputs, strict=True)
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])
    return ReferenceEvaluator(model).run(None, dict(zip(given, inputs, strict=True)))


def test_rms_norm_is_that_of_onnx():
    x, gamma = normal(2, 3, 8) * 3, normal(8)
    (expected,) = reference("RMSNormalization", ["x", "g"], [x, gamma], 1, axis=-1, epsilon=0.1)
    (y,) = run("nn.rms_norm %a, %b {{epsilon = 0.1 : f64}} : ({})", x, gamma)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected, rtol=1e-6)


@pytest.mark.parametrize("pairs", ["halves", "neighbours"])
@pytest.mark.parametrize("features", [8, 4])
def test_rotary_is_that_of_onnx(pairs: str, features: int):
    x = normal(2, 5, 3, 8)
    positions = np.array([[0, 1, 2, 3, 4], [7, 900, 9, 3, 1]])
    angles = np.arange(1000)[:, np.newaxis] * 100.0 ** (-np.arange(0, features, 2) / features)
    tables = [f(angles).astype(np.float32) for f in (np.cos, np.sin)]
    (expected,) = reference(
        "RotaryEmbedding",
        ["x", "c", "s", "p"],
        [x.transpose(0, 2, 1, 3), *tables, positions],
        1,
        interleaved=int(pairs == "neighbours"),
        rotary_embedding_dim=features,
    )
    attributes = f"{{{{base = 100.0 : f64, features = {features} : i64}}}}"
    (y,) = run(f"nn.rotary {pairs} %a, %b {attributes} : ({{}})", x, positions)
    np.testing.assert_allclose(y, expected.transpose(0, 2, 1, 3), atol=2e-6)


def test_factors_divide_frequencies():
    found = rotary_frequencies(4, 100.0, np.array([1.0, 8.0]))
    np.testing.assert_allclose(found, [1, 0.1 / 8])


@pytest.mark.parametrize("past", [0, 4])
@pytest.mark.parametrize("tokens", [1, 5])
def test_cached_attention_is_that_of_onnx(past: int, tokens: int):
    batch, heads, groups, features, channels = 2, 6, 2, 4, 3
    queries = normal(batch, tokens, heads, features)
    keys, old_keys = normal(batch, tokens, groups, features), normal(batch, past, groups, features)
    values = normal(batch, tokens, groups, channels)
    old_values = normal(batch, past, groups, channels)
    inputs = [queries, keys, values, old_keys, old_values]
    expected = reference(
        "Attention",
        ["q", "k", "v", "", "pk", "pv"],
        [x.transpose(0, 2, 1, 3) for x in inputs],
        3,
        is_causal=1,
        scale=0.3,
    )
    text = "nn.cached_attention %a, %b, %c past %d, %e {{scale = 0.3 : f64}} : ({})"
    y, *present = run(text, *inputs)
    whole = expected[0].transpose(0, 2, 1, 3).reshape(batch, tokens, heads * channels)
    np.testing.assert_allclose(y, whole, atol=1e-6)
    for found, of_onnx in zip(present, expected[1:], strict=True):
        np.testing.assert_array_equal(found, of_onnx.transpose(0, 2, 1, 3))
    # A single sequence needs no dimension for it.
    one, *_ = run(text, *(x[1] for x in inputs))
    np.testing.assert_allclose(one, y[1], atol=1e-6)


def test_no_token_attends_to_a_later_one():
    inputs = [normal(4, 2, 4), normal(4, 1, 4), normal(4, 1, 4), normal(3, 1, 4), normal(3, 1, 4)]
    text = "nn.cached_attention %a, %b, %c past %d, %e {{scale = 0.5 : f64}} : ({})"
    before, *_ = run(text, *inputs)
    inputs[1][3], inputs[2][3] = -3, 1e6
    after, *_ = run(text, *inputs)
    np.testing.assert_array_equal(before[:3], after[:3])
    assert (before[3] != after[3]).all()


def test_what_does_not_fit_is_named():
    text = 'nn.cached_attention %a, %b, %c past %d, %e {{scale = 0.5 : f64, node = "heads"}} : ({})'
    inputs = [normal(4, 3, 4), *[normal(4, 2, 4)] * 4]
    with pytest.raises(InterpretationError, match="heads"):
        run(text, *inputs)
    with pytest.raises(InterpretationError, match=r"nn\.rotary"):
        run("nn.rotary halves %a, %b {{base = 2.0 : f64}} : ({})", normal(2, 3, 5), np.arange(2))
