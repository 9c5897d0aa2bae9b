# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What networks take: rows one by one, inputs that are fixed, sound of any loudness."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import daqkf
from daqkf.cli.main import main
from daqkf.compiler.calibration import hold_out
from daqkf.compiler.formats import load_network
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn import MatmulOp, OperatorOp
from daqkf.passes import nn_product
from daqkf.passes.nn_product import freed_inputs
from daqkf.support.errors import DaqkfError

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(11)


def real(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def save(
    path: Path, nodes: Sequence[Any], inputs: Sequence[Any], output: Any, constants: Any
) -> Path:
    arrays = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(list(nodes), "g", list(inputs), [output], arrays)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def value(name: str, shape: Sequence[Any], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def expected(path: Path, feeds: dict[str, Array]) -> Array:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feeds)[0])


def signal_to_noise(found: Array, wanted: Array) -> float:
    return float(10 * np.log10((wanted**2).sum() / ((found - wanted) ** 2).sum()))


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose batch is one, as exporters write it by default."""
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["y"]),
    ]
    constants = {"w": real(12, 8), "b": real(8), "v": real(8, 3)}
    path = tmp_path_factory.mktemp("single") / "m.onnx"
    return save(path, nodes, [value("x", [1, 12])], value("y", [1, 3]), constants)


def test_a_batch_of_one_takes_many_rows(single: Path):
    samples, x = {"x": real(60, 12)}, real(20, 12)
    network = daqkf.compile(str(single), calibration=samples, target="tiny")
    wanted = np.concatenate([expected(single, {"x": row[np.newaxis]}) for row in x])
    found = network.run({"x": x})["y"]
    assert found.shape == (20, 3)
    assert signal_to_noise(found, wanted) > 25
    alone = np.concatenate([network.run({"x": row[np.newaxis]})["y"] for row in x])
    # Sums of the host's float32 may be in another order.
    np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-6)
    assert max(network.saturation({"x": x}).values()) < 0.02
    pruned = daqkf.compile(str(single), calibration=samples, target="tiny", sparsity=0.5)
    assert pruned.sparsity() == pytest.approx(0.5, abs=0.02)


def test_rows_that_are_not_of_one_length_are_refused(single: Path):
    network = daqkf.compile(str(single), calibration={"x": real(4, 12)}, target="tiny")
    with pytest.raises(DaqkfError, match="the input 'x': an array of shape \\(2, 11\\) is not a"):
        network.run({"x": real(2, 11)})


def node(kind: str, *names: str, **attributes: Any) -> Any:
    """A node of these inputs; the last name is its output."""
    return helper.make_node(kind, names[:-1], names[-1:], **attributes)


W, V = real(12, 8), real(8, 8)

ONES: dict[str, tuple[list[Any], list[int], dict[str, Array], bool]] = {
    "heads": (
        [
            node("MatMul", "x", "w", "h"),
            node("Reshape", "h", "split", "s"),
            node("Transpose", "s", "t", perm=[0, 2, 1, 3]),
            node("Softmax", "t", "p", axis=-1),
            node("Transpose", "p", "q", perm=[0, 2, 1, 3]),
            node("Reshape", "q", "merge", "m"),
            node("MatMul", "m", "v", "y"),
        ],
        [1, 5, 8],
        {"split": np.array([1, -1, 2, 4]), "merge": np.array([1, 5, 8])},
        True,
    ),
    "rows of a matrix": (
        [
            node("Reshape", "x", "flat", "f"),
            node("MatMul", "f", "w", "h"),
            node("Relu", "h", "r"),
            node("MatMul", "r", "v", "z"),
            node("Reshape", "z", "whole", "y"),
        ],
        [1, 5, 8],
        {"flat": np.array([5, 12]), "whole": np.array([1, -1, 8])},
        True,
    ),
    "a second input": (
        [node("MatMul", "x", "w", "h"), node("Add", "h", "u", "a"), node("MatMul", "a", "v", "y")],
        [1, 5, 8],
        {},
        True,
    ),
    "softmax over the batch": (
        [
            node("MatMul", "x", "w", "h"),
            node("Softmax", "h", "p", axis=0),
            node("Mul", "p", "h", "m"),
            node("MatMul", "m", "v", "y"),
        ],
        [1, 5, 8],
        {},
        False,
    ),
    "a mean over all": (
        [
            node("MatMul", "x", "w", "h"),
            node("ReduceMean", "h", "m", keepdims=1),
            node("Sub", "h", "m", "c"),
            node("MatMul", "c", "v", "y"),
        ],
        [1, 5, 8],
        {},
        False,
    ),
    "large values meet": (
        # Only values beyond 30 reach other rows.
        [
            node("MatMul", "x", "w", "h"),
            node("ReduceMax", "h", "g", keepdims=1),
            node("Sub", "g", "thirty", "e"),
            node("Relu", "e", "r"),
            node("Add", "h", "r", "a"),
            node("MatMul", "a", "v", "y"),
        ],
        [1, 5, 8],
        {"thirty": np.float32([30])},
        False,
    ),
    "an extent that stays": (
        [
            node("MatMul", "x", "w", "h"),
            node("Tile", "h", "twice", "t"),
            node("MatMul", "t", "v", "z"),
            node("Slice", "z", "begin", "end", "first", "y"),
        ],
        [1, 5, 8],
        {
            "twice": np.array([2, 1, 1]),
            "begin": np.array([0]),
            "end": np.array([1]),
            "first": np.array([0]),
        },
        False,
    ),
}
"""Networks of [1, 5, 12]: nodes, shape of the result, constants, whether rows can run together."""


@pytest.mark.parametrize("name", ONES)
def test_rows_run_together_where_they_do_not_meet(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    nodes, shape, constants, together = ONES[name]
    constants = constants | {"w": W, "v": V}
    inputs = [value("x", [1, 5, 12])]
    x = {"x": real(9, 5, 12)}
    if name == "a second input":
        inputs.append(value("u", [1, 1, 8]))
        x["u"] = real(1, 1, 8)
    path = save(tmp_path / "m.onnx", nodes, inputs, value("y", shape), constants)
    network = daqkf.compile(str(path), calibration=x, target="tiny")
    assert freed_inputs(entry(network.network)) == ([i.name for i in inputs] if together else [])
    monkeypatch.setattr(nn_product, "_ROWS", 4)  # three parts
    found = network.run(x)["y"]
    rows = [{n: a[[min(row, len(a) - 1)]] for n, a in x.items()} for row in range(9)]
    wanted = np.concatenate([expected(path, row) for row in rows])
    assert found.shape == wanted.shape
    assert signal_to_noise(found, wanted) > 25
    alone = np.concatenate([network.run(row)["y"] for row in rows])
    np.testing.assert_array_equal(found, alone)
    # What it is calibrated on is the same as one row after another.
    again = daqkf.compile(str(path), calibration=rows, target="tiny")
    np.testing.assert_allclose(again.run(x)["y"], found, rtol=1e-5, atol=1e-6)


def test_what_chooses_by_its_inputs_keeps_its_batch_of_one(tmp_path: Path):
    branches = {
        f"{name}_branch": helper.make_graph(
            [node("MatMul", "x", weights, f"{name}.y")], name, [], [value(f"{name}.y", [1, 8])]
        )
        for name, weights in (("then", "w"), ("else", "u"))
    }
    nodes = [
        node("ReduceMax", "x", "m", keepdims=0),
        node("Greater", "m", "nine", "is"),
        node("If", "is", "h", **branches),
        node("MatMul", "h", "v", "y"),
    ]
    constants = {"w": W, "u": real(12, 8), "v": V, "nine": np.float32(9)}
    path = save(tmp_path / "m.onnx", nodes, [value("x", [1, 12])], value("y", [1, 8]), constants)
    x = real(12, 12)
    x[3:6] *= 20
    network = daqkf.compile(str(path), calibration={"x": x}, target="tiny")
    assert not freed_inputs(entry(network.network))
    wanted = np.concatenate([expected(path, {"x": row[np.newaxis]}) for row in x])
    assert signal_to_noise(network.run({"x": x})["y"], wanted) > 25


def choice(path: Path) -> Path:
    """Two products, of which a number says which one is taken, each in a branch of its own."""
    branches: dict[str, Any] = {
        f"{name}_branch": helper.make_graph(
            [
                helper.make_node("MatMul", ["x", weights], ["product"]),
                helper.make_node("Relu", ["product"], [f"{name}.y"]),
            ],
            name,
            [],
            [value(f"{name}.y", ["n", 2])],
        )
        for name, weights in (("then", "w"), ("else", "v"))
    }
    nodes = [
        helper.make_node("Equal", ["rate", "first"], ["is"]),
        helper.make_node("If", ["is"], ["z"], "choice", **branches),
        helper.make_node("If", ["is"], ["u"], "again", **branches),
        helper.make_node("Add", ["z", "u"], ["y"]),
    ]
    inputs = [value("x", ["n", 3]), value("rate", [], TensorProto.INT64)]
    constants = {"first": np.array(16), "w": real(3, 2), "v": real(3, 2)}
    return save(path, nodes, inputs, value("y", ["n", 2]), constants)


@pytest.mark.parametrize("rate", [16, 8])
def test_the_branch_of_a_fixed_input_is_inlined(tmp_path: Path, rate: int):
    path, x = choice(tmp_path / "m.onnx"), real(5, 3)
    open_ended = load_network(path)
    assert sum(isinstance(op, OperatorOp) for op in open_ended.walk()) == 2
    module = load_network(path, fixed={"rate": rate})
    assert not [op for op in module.walk() if isinstance(op, OperatorOp)]
    assert sum(isinstance(op, MatmulOp) for op in module.walk()) == 2
    (found,) = call(module, entry(module), [x])
    wanted = expected(path, {"x": x, "rate": np.array(rate)})
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    network = daqkf.compile(str(path), calibration={"x": real(64, 3)}, fixed={"rate": rate})
    assert network.inputs == ["x"]
    assert len(network.kernels) == 1  # both read the same
    assert signal_to_noise(network.run({"x": x})["y"], wanted) > 25


def test_what_cannot_be_fixed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = choice(tmp_path / "m.onnx")
    with pytest.raises(DaqkfError, match="no input 'speed' to fix \\(known: x, rate\\)"):
        load_network(path, fixed={"speed": 1})
    with pytest.raises(DaqkfError, match="'rate' cannot be an array of shape \\(2,\\)"):
        load_network(path, fixed={"rate": [1, 2]})
    with pytest.raises(DaqkfError, match="inputs are fixed in ONNX files alone"):
        load_network(save_matrix(tmp_path), fixed={"x": 1})
    for given in ("rate", "rate=fast"):
        assert main(["compile", str(path), "--fix", given, "-o", str(tmp_path / "o")]) == 1
        assert f"--fix takes NAME=NUMBER, not '{given}'" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def save_matrix(folder: Path) -> Path:
    np.save(folder / "w.npy", real(3, 2))
    return folder / "w.npy"


def loud_and_quiet(count: int) -> Array:
    """Rows whose sizes differ by a factor of 1,000, the last features being small ones."""
    rows = real(count, 16) * 10 ** RNG.uniform(-3, 0, (count, 1))
    return (rows * np.geomspace(1, 0.05, 16)).astype(np.float32)


def test_rows_of_any_size_keep_their_accuracy(tmp_path: Path):
    """A row by itself is as accurate if it is quiet, which one scale for all cannot give."""
    weights, other = real(16, 12), real(12, 4)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["y"]),
    ]
    path = save(
        tmp_path / "m.onnx",
        nodes,
        [value("x", ["n", 16])],
        value("y", ["n", 4]),
        {"w": weights, "v": other},
    )
    samples, x = {"x": loud_and_quiet(400)}, loud_and_quiet(100)
    x *= 0.02 / np.abs(x).max(axis=1, keepdims=True)  # all of them quiet
    wanted = expected(path, {"x": x})
    plain = daqkf.compile(str(path), calibration=samples)
    scaled = daqkf.compile(str(path), calibration=samples, scale_rows=True)
    assert signal_to_noise(plain.run({"x": x})["y"], wanted) < 20
    assert signal_to_noise(scaled.run({"x": x})["y"], wanted) > 30
    assert list(scaled.kernels) == ["w", "v"]
    # The float network is scaled as the compilation has done it, whose data nobody has any more.
    scaled.save(tmp_path / "net")
    found = daqkf.CompiledNetwork.load(tmp_path / "net").debug({"x": x}, path)
    assert [row.name for row in found] == ["w", "v"] and min(row.sqnr for row in found) > 30
    noise = signal_to_noise(scaled.run({"x": x})["y"], wanted)
    assert found[1].sqnr == pytest.approx(noise, abs=4)


def test_kernels_that_int8_is_too_coarse_for_stay_on_the_host(tmp_path: Path):
    """The second one loses what cancels out in its sums."""
    direction = real(16, 1)
    rows = real(200, 16) * 0.02 + np.float32(1)
    samples = {"x": rows}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
        helper.make_node("MatMul", ["x", "v"], ["d"], "second"),
        helper.make_node("Mul", ["d", "large"], ["e"]),
        helper.make_node("Add", ["h", "e"], ["y"]),
    ]
    balanced = direction - direction.mean()
    path = save(
        tmp_path / "m.onnx",
        nodes,
        [value("x", ["n", 16])],
        value("y", ["n", 4]),
        {"w": real(16, 4), "v": balanced, "large": np.array(50, np.float32)},
    )
    wanted = expected(path, samples)
    plain = daqkf.compile(str(path), calibration=samples, fuse=False)
    assert signal_to_noise(plain.run(samples)["y"], wanted) < 25
    kept = daqkf.compile(str(path), calibration=samples, fallback=25.0, fuse=False)
    assert signal_to_noise(kept.run(samples)["y"], wanted) > 25
    assert list(kept.kernels) == ["first"]
    assert [row.name for row in kept.debug(samples, path)] == ["first"]
    assert kept.left() == [{"name": "second", "does": "matmul", "why": "int8 is too coarse for it"}]
    with pytest.raises(DaqkfError, match="int8 is too coarse for every kernel, if outputs keep 90"):
        daqkf.compile(str(path), calibration=samples, fallback=90.0)
    with pytest.raises(DaqkfError, match="fallback needs calibration"):
        daqkf.compile(str(path), fallback=20.0)


def test_batches_are_held_out_where_samples_meet(single: Path, tmp_path: Path):
    batches = [{"x": real(1, 12)} for _ in range(5)]
    fitted, held = hold_out(load_network(single), batches, 2)
    assert [id(batch) for batch in held] == [id(batches[1]), id(batches[3])]
    assert [id(batch) for batch in fitted] == [id(batch) for batch in batches[::2]]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    rows = save(
        *(tmp_path / "m.onnx", nodes, [value("x", ["n", 16])], value("y", ["n", 4])),
        {"w": real(16, 4)},
    )
    x = real(5, 16)
    (fitted,), (held,) = hold_out(load_network(rows), [{"x": x}], 2)
    np.testing.assert_array_equal(fitted["x"], x[::2])
    np.testing.assert_array_equal(held["x"], x[1::2])


def test_a_feature_that_samples_hardly_show_does_not_spoil_its_rows(tmp_path: Path):
    weights = real(12, 8)
    nodes = [node("MatMul", "x", "w", "y")]
    path = save(
        tmp_path / "m.onnx", nodes, [value("x", ["n", 12])], value("y", ["n", 8]), {"w": weights}
    )
    samples, x = real(200, 12), real(50, 12)
    samples[:, 3] *= 1e-5
    network = daqkf.compile(str(path), calibration={"x": samples}, target="tiny", scale_rows=True)
    assert signal_to_noise(network.run({"x": x})["y"], expected(path, {"x": x})) > 18
