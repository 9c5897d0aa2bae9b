# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The passes that cut kernels out of networks, checked by running the IR before and after."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nn_networks import CONTEXT, Builder, Floats, found, results, tensor, transformed
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp, StringAttr, UnrankedTensorType, f32
from xdsl.dialects.func import FuncOp
from xdsl.utils.exceptions import PassFailedException

from daqkf.dialects.nn import LinearOp, MatmulOp, ProductOp, SliceOp
from daqkf.dialects.nn.base import NODE
from daqkf.dialects.spaq import ActivationOp, AddOp
from daqkf.dialects.spaq import MatmulOp as KernelMatmulOp
from daqkf.hw_targets.config import MAX_KERNELS
from daqkf.passes.nn_product import NnProductPass, quantize_products
from daqkf.support.ir import module_text, parse_module

RNG = np.random.default_rng(11)
FUNCTIONS = [None, "relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh"]


def random(*shape: int) -> Floats:
    return RNG.standard_normal(shape).astype(np.float32)


def kernels(module: ModuleOp) -> list[str]:
    return [op.sym_name.data for op in found(module, FuncOp) if isinstance(op, FuncOp)][:-1]


def same(after: ModuleOp, before: ModuleOp, *inputs: NDArray) -> None:
    """The results agree, also of what is printed and parsed."""
    again = parse_module(CONTEXT, module_text(after), "printed")
    for one, other, printed in zip(
        results(after, *inputs), results(before, *inputs), results(again, *inputs), strict=True
    ):
        assert one.shape == other.shape
        assert np.allclose(one, other, rtol=1e-5, atol=1e-5)
        assert np.array_equal(one, printed)


layers = st.lists(
    st.tuples(st.integers(1, 9), st.booleans(), st.sampled_from(FUNCTIONS)), min_size=1, max_size=4
)


@given(layers, layers, st.sampled_from([(), (3,), (2, 4)]))
@settings(max_examples=15)
def test_networks_compute_the_same(
    beside: list[tuple[int, bool, str | None]],
    behind: list[tuple[int, bool, str | None]],
    rows: tuple[int, ...],
):
    builder = Builder((*rows, 7))
    outputs = [
        builder.layer(builder.inputs[0], random(7, width), random(width) if bias else None, kind)
        for width, bias, kind in beside
    ]
    value, features = outputs[-1], beside[-1][0]
    for width, bias, kind in behind:
        bias = random(width) if bias else None
        value, features = builder.layer(value, random(features, width), bias, kind), width
    module = builder.module(*outputs, value)
    x = random(*rows, 7)
    outlined = transformed(module, "nn-outline")
    count = len(beside) + len(behind)
    assert not found(outlined, MatmulOp)
    assert len(kernels(outlined)) == len(found(outlined, LinearOp)) == count
    same(outlined, module, x)
    assert str(transformed(outlined, "nn-outline")) == str(outlined)

    merged = transformed(outlined, "nn-merge")
    functions = [kind for *_, kind in beside]
    assert len(found(merged, LinearOp)) == len(set(functions)) + len(behind)
    assert len(found(merged, SliceOp)) == sum(functions.count(kind) > 1 for kind in functions)
    same(merged, module, x)

    chained = transformed(merged, "nn-chain")
    assert len(found(chained, LinearOp)) == len(set(functions)) + 1
    assert len(found(chained, KernelMatmulOp)) == len(found(merged, KernelMatmulOp))
    same(chained, module, x)


@pytest.mark.parametrize("biases", [(True, True, True), (True, False, True), (False, False, False)])
def test_query_key_and_value_become_one(biases: tuple[bool, ...]):
    builder = Builder((2, 5, 8))
    values = [
        builder.layer(builder.inputs[0], random(8, 8), random(8) if bias else None, None)
        for bias in biases
    ]
    scores = builder.apply("mul", builder.apply("mul", values[0], values[1]), values[2])
    module = builder.module(scores)
    merged = transformed(module, "nn-outline,nn-merge")
    assert len(found(merged, LinearOp)) == len(kernels(merged)) == 1
    assert len(found(merged, AddOp)) == any(biases), "no bias of zeros alone"
    same(merged, module, random(2, 5, 8))


def test_a_merged_layer_fits_the_result_memory():
    builder = Builder((4, 3))
    values = [
        builder.layer(builder.inputs[0], random(3, width), None, None) for width in (20, 10, 2, 1)
    ]
    module = builder.module(*values)
    merged = transformed(module, "nn-outline,nn-merge{target=tiny}")
    widths = [op.result.type for op in found(merged, LinearOp) if isinstance(op, LinearOp)]
    assert widths == [tensor((4, 32)), tensor((4, 1))]
    same(merged, module, random(4, 3))


UNUSUAL = """
  %w = spaq.constant dense<[[1.0, -2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = spaq.constant dense<[0.5, -1.0]> : tensor<2xf32>
"""
USUAL = "%0 = spaq.matmul %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>"


def activation(name: str, source: str) -> str:
    return f'{name} = spaq.activation "relu" {source} : tensor<?x2xf32> -> tensor<?x2xf32>'


def addition(name: str, source: str) -> str:
    return f"{name} = spaq.add {source}, %b : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>"


@pytest.mark.parametrize(
    "body",
    [
        (activation("%a", "%x"), USUAL.replace("%x,", "%a,"), "return %0"),
        (USUAL, activation("%1", "%0"), addition("%2", "%1"), "return %2"),
        (USUAL, addition("%1", "%0"), addition("%2", "%1"), "return %2"),
        (USUAL, activation("%1", "%0"), activation("%2", "%1"), "return %2"),
        (USUAL, activation("%1", "%0"), "return %0"),
        ("return %x",),
    ],
    ids=["input", "bias behind", "two biases", "two functions", "not the result", "identity"],
)
def test_kernels_that_are_no_single_layer_are_not_merged(body: tuple[str, ...]):
    lines = "\n".join([*body[:-1], f"func.{body[-1]} : tensor<?x2xf32>"])
    text = f"""
    func.func @k(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {{ {UNUSUAL} {lines} }}
    func.func @main(%x: tensor<?x2xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {{
      %y = nn.linear @k %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
      %z = nn.linear @k %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
      func.return %y, %z : tensor<?x2xf32>, tensor<?x2xf32>
    }}"""
    module = parse_module(CONTEXT, text, "test")
    assert str(transformed(module, "nn-merge")) == str(module)
    same(module, module, random(3, 2))


def test_results_without_a_rank_are_merged():
    builder = Builder((2, 5, 8))
    module = builder.module(
        *(builder.layer(builder.inputs[0], random(8, 4), None, None) for _ in range(2))
    )
    x = random(2, 5, 8)
    expected = results(module, x)
    text = module_text(transformed(module, "nn-outline")).replace("2x5x4xf32", "*xf32")
    merged = transformed(parse_module(CONTEXT, text, "test"), "nn-merge")
    (call,) = found(merged, LinearOp)
    assert call.results[0].type == UnrankedTensorType(f32)
    for one, other in zip(results(merged, x), expected, strict=True):
        assert np.allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("widths", "target", "calls"),
    [
        ([8] * (2 * MAX_KERNELS + 1), "generic", [MAX_KERNELS, MAX_KERNELS]),
        ([63, 32, 63], "tiny", [2]),
        ([8, 33, 8, 8], "tiny", [1, 2]),
        ([8, 32, 33, 8], "tiny", [2, 1]),
    ],
)
def test_chains_end_at_limits(widths: list[int], target: str, calls: list[int]):
    builder = Builder((2, widths[0]))
    value = builder.inputs[0]
    for features, channels in pairwise(widths):
        value = builder.layer(value, random(features, channels), None, "tanh")
    module = builder.module(value)
    chained = transformed(module, f"nn-outline,nn-chain{{target={target}}}")
    sizes = {
        op.sym_name.data: len([inside for inside in op.walk() if isinstance(inside, ActivationOp)])
        for op in found(chained, FuncOp)
        if isinstance(op, FuncOp)
    }
    ops = [op for op in found(chained, LinearOp) if isinstance(op, LinearOp)]
    assert [sizes[op.callee.root_reference.data] for op in ops] == calls
    same(chained, module, random(2, widths[0]))


def attention(seed: int) -> tuple[ModuleOp, dict[str, Floats]]:
    """Scores of queries and keys in two batches, the one broadcast, with numbers for them."""
    builder = Builder((3, 1, 5, 8), (2, 8, 4))
    product = builder.matmul(*builder.inputs)
    assert isinstance(product.owner, MatmulOp)
    rng = np.random.default_rng(seed)
    inputs = {
        "input0": rng.standard_normal((3, 1, 5, 8)).astype(np.float32),
        "input1": 10 * rng.standard_normal((2, 8, 4)).astype(np.float32),
    }
    return builder.module(product), inputs


def product_of(module: ModuleOp) -> ProductOp:
    (op,) = found(module, ProductOp)
    assert isinstance(op, ProductOp)
    return op


@pytest.mark.parametrize("stretch", [1.0, 3.0])
def test_products_are_those_of_the_formula(stretch: float):
    module, inputs = attention(1)
    (real,) = results(module, *inputs.values())
    assert quantize_products(module, inputs) == 1
    module.verify()
    # Beyond the samples' ranges everything saturates.
    left, right = (value * np.float32(stretch) for value in inputs.values())
    op = product_of(module)
    (multiplier, shift), scales = op.requantization(), op.steps()
    assert np.allclose(scales, [np.abs(v).max() / 127 for v in (*inputs.values(), real)])
    lhs = np.clip(np.rint(left.astype(np.float64) / scales[0]), -128, 127).astype(np.int64)
    rhs = np.clip(np.rint(right.astype(np.float64) / scales[1]), -127, 127).astype(np.int64)
    shifted = ((lhs @ rhs) * multiplier + (1 << (shift - 1))) >> shift
    expected = np.clip(shifted, -128, 127).astype(np.float32) * np.float32(scales[2])
    (y,) = results(module, left, right)
    assert y.dtype == np.float32
    assert np.array_equal(y, expected)
    assert (stretch > 1) == bool((shifted > 127).any())
    if stretch == 1:
        assert np.abs(y - real).max() < 0.04 * np.abs(real).max()


def test_products_that_come_to_nothing_keep_their_sums_steps():
    builder = Builder((1, 2), (2, 1))
    module = builder.module(builder.matmul(*builder.inputs))
    big = np.array([[1e4, 1e4]], np.float32)
    quantize_products(module, {"input0": big, "input1": np.array([[1e4], [-1e4]], np.float32)})
    module.verify()
    left, right, result = product_of(module).steps()
    assert result == pytest.approx(left * right)
    (y,) = results(module, big, np.array([[1e2], [1e2]], np.float32))
    assert y > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input1": None}, "the network needs the input 'input1' .all: input0, input1."),
        ({"mask": np.zeros(1)}, "the network has no input 'mask' .known: input0, input1."),
        (
            {"input0": np.zeros((3, 8), np.float32)},
            r"samples: the input 'input0': an array of shape \(3, 8\)",
        ),
        (
            {"input0": np.full((3, 1, 5, 8), np.nan, np.float32)},
            r"the input 'input0' is NaN at \[0, ",
        ),
        ({"input0": np.full((3, 1, 5, 8), 3e38, np.float32)}, "samples: 'scores' reads or gives"),
    ],
)
def test_samples_that_do_not_fit_are_named(
    changes: dict[str, NDArray | None], message: str, tmp_path: Path
):
    module, inputs = attention(2)
    for op in found(module, MatmulOp):
        op.attributes[NODE] = StringAttr("scores")
    before = str(module)
    given_inputs = {k: v for k, v in {**inputs, **changes}.items() if v is not None}
    np.savez(tmp_path / "x.npz", **given_inputs)
    with pytest.raises(PassFailedException, match=f"^nn-product: {message}"):
        NnProductPass(str(tmp_path / "x.npz")).apply(CONTEXT, module)
    assert str(module) == before


@pytest.mark.parametrize("content", [b"", b"no arrays", b"PK\x03\x04 cut"])
def test_sample_files_that_are_none_are_named(content: bytes, tmp_path: Path):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(PassFailedException, match=r"^nn-product: .*x\.npz"):
        NnProductPass(str(path)).apply(CONTEXT, attention(3)[0])


def test_one_array_is_no_file_of_inputs(tmp_path: Path):
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(PassFailedException, match=r"^nn-product: .*x\.npy"):
        NnProductPass(str(tmp_path / "x.npy")).apply(CONTEXT, attention(3)[0])


def test_kernels_need_a_network_that_they_belong_to():
    builder = Builder((2, 3))
    module = builder.module(builder.layer(builder.inputs[0], random(3, 3), None, None))
    names = module_text(module).replace("@main", "@one"), module_text(module).replace("@main", "@b")
    bodies = "\n".join(text.split("{", 1)[1].rsplit("}", 1)[0] for text in names)
    message = r"nn\.matmul: nn-outline: expected one func\.func in the module, not 2"
    with pytest.raises(PassFailedException, match=message):
        transformed(parse_module(CONTEXT, bodies, "test"), "nn-outline")
