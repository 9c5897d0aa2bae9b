# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf.compile` and the Design it gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import daqkf
from daqkf.compiler.options import level_set
from daqkf.hw_targets.functions import apply_function

RNG = np.random.default_rng(11)
WEIGHTS = RNG.standard_normal((40, 12))
BIAS = RNG.standard_normal(12)
X = RNG.standard_normal((7, 40))


@pytest.fixture(scope="module")
def design() -> daqkf.Design:
    return daqkf.compile(
        WEIGHTS, bias=BIAS, activation="gelu", sparsity=0.5, calibration=X, target="tiny"
    )


def test_a_layer_all_the_way(design: daqkf.Design):
    y = design.simulate(X, stalls=0.25, seed=3)
    assert y.dtype == np.float32
    assert y.shape == (7, 12)
    assert np.array_equal(y, design.reference(X))
    pruned = WEIGHTS * (design.weight_levels != 0)
    real = apply_function("gelu", X @ pruned + BIAS)
    assert np.sqrt(((y - real) ** 2).mean()) < 0.02 * np.abs(real).max()
    assert np.count_nonzero(design.weight_levels) == 240
    assert "module daqkf_array(" in design.verilog
    assert design.program[:4] == b"DQKF"


def test_int8_in_int8_out(design: daqkf.Design):
    q = RNG.integers(-128, 128, (5, 40)).astype(np.int8)
    y = design.simulate(q)
    assert y.dtype == np.int8
    assert np.array_equal(y, design.reference(q))


@pytest.fixture(scope="module")
def outliers() -> tuple[daqkf.Design, np.ndarray[Any, Any]]:
    """A layer with features and channels that stand out, and activations for it."""
    weights, x = WEIGHTS.copy(), np.tile(X, (4, 1))
    x[:, [4, 31]] *= [[9, 25]]
    weights[:, 5] *= 8
    design = daqkf.compile(
        weights,
        bias=BIAS,
        activation="gelu",
        levels=15,
        sparsity=0.6,
        split=0.25,
        calibration=x,
        target="tiny",
    )
    return design, x


@pytest.mark.slow
def test_outliers_have_several_columns(outliers: tuple[daqkf.Design, np.ndarray[Any, Any]]):
    design, x = outliers
    assert set(design.input_split) == {4, 31}
    assert len(design.output_split)
    assert (design.features, design.outputs) == (40, 12)
    assert design.weight_levels.shape == (40, 12)
    assert design.weight_scales.shape == (12,)
    y = design.simulate(x)
    assert y.shape == (28, 12)
    assert np.array_equal(y, design.reference(x))
    single = daqkf.compile(
        np.asarray(design.weight_levels) * design.weight_scales,
        bias=BIAS,
        activation="gelu",
        levels=15,
        split=0,
        calibration=x,
        target="tiny",
    )
    assert not len(single.input_split) and not len(single.output_split)
    real = apply_function("gelu", x @ (design.weight_levels * design.weight_scales) + BIAS)
    errors = [np.linalg.norm(result - real) for result in (y, single.reference(x))]
    assert errors[0] < 0.5 * errors[1]
    facts = design.summary()
    assert facts["input_split"] == design.input_split.tolist()
    assert facts["features"] == 40


@pytest.mark.slow
def test_int8_columns_are_the_arrays_own(outliers: tuple[daqkf.Design, np.ndarray[Any, Any]]):
    design, x = outliers
    columns = 40 + len(design.input_split)
    # Not only those that quantisation makes.
    q = RNG.integers(-128, 128, (5, columns)).astype(np.int8)
    y = design.simulate(q)
    assert y.shape == (5, 12 + len(design.output_split))
    assert np.array_equal(y, design.reference(q))
    ours = design.reference(design.quantize_input(x))
    assert np.array_equal(design.dequantize_output(ours), design.reference(x))
    with pytest.raises(daqkf.DaqkfError, match=rf"\[T, {columns}\], of which {columns - 40} are"):
        design.simulate(q[:, :40])


def test_sums_have_a_scale_for_each_output():
    weights = WEIGHTS * np.logspace(0, 1, 12)
    design = daqkf.compile(weights, levels=15, calibration=X, target="tiny")
    scales = np.asarray(design.output_scale)
    assert np.allclose(scales, np.abs(X @ weights).max(axis=0) * 1.1 / 127, rtol=1e-5)
    error = np.abs(design.reference(X) - X @ weights).max(axis=0)
    assert (error < 0.1 * np.abs(X @ weights).max(axis=0)).all()
    assert design.summary()["output_scale"] == scales.tolist()


def test_a_full_target_gets_no_extra_columns():
    x = RNG.standard_normal((9, 63))
    x[:, 0] *= 50
    weights = RNG.standard_normal((63, 4))
    assert not len(daqkf.compile(weights, calibration=x, split=0.5, target="tiny").input_split)
    fewer = daqkf.compile(weights[:61], calibration=x[:, :61], split=0.5, target="tiny")
    assert fewer.input_split.tolist() == [0, 0]


def test_another_layer_runs_on_the_same_array(design: daqkf.Design):
    other = daqkf.compile(
        RNG.standard_normal((17, 9)), levels="codebook-7", sparsity=0.3, target=design
    )
    assert other.config == design.config
    assert other.verilog == design.verilog
    x = RNG.standard_normal((3, 17))
    assert np.array_equal(other.simulate(x), other.reference(x))


def test_a_layer_beyond_an_array_is_refused(design: daqkf.Design):
    with pytest.raises(daqkf.DaqkfError, match="needs parameter_depth = 16, but the array has 8"):
        daqkf.compile(WEIGHTS[:, :1].repeat(20, axis=1), levels=3, sparsity=0.9, target=design)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.coo_array, sparse.csc_array])
def test_scipy_matrices(kind: Any):
    weights = np.where(np.abs(WEIGHTS) > 1, WEIGHTS, 0)
    ours = daqkf.compile(kind(weights), target="tiny", levels=7)
    assert ours.program == daqkf.compile(weights, target="tiny", levels=7).program


def test_integers_are_levels():
    levels = RNG.integers(-3, 4, (10, 4))
    design = daqkf.compile(levels, levels="uniform-3", target="tiny")
    assert np.array_equal(design.weight_levels, levels)
    assert (design.weight_scales == 1).all()
    with pytest.raises(daqkf.DaqkfError, match=r"weight \[.*\] is .*, not a level within ±2"):
        daqkf.compile(levels, levels="uniform-2", target="tiny")


def test_designs_come_back_from_their_folder(design: daqkf.Design, tmp_path: Path):
    design.save(tmp_path)
    loaded = daqkf.Design.load(tmp_path)
    assert loaded.program == design.program
    assert loaded.verilog == design.verilog
    assert np.array_equal(loaded.simulate(X), design.simulate(X))
    (tmp_path / "program.bin").write_bytes(design.program[:100])
    with pytest.raises(daqkf.DaqkfError, match=r"program.bin: not as it was saved: its hash"):
        daqkf.Design.load(tmp_path)
    (tmp_path / "design.json").write_text("{}")
    with pytest.raises(daqkf.DaqkfError, match=r"design.json: lacks 'files', the hashes"):
        daqkf.Design.load(tmp_path)


@pytest.mark.parametrize("levels", ["int8", "codebook-31"])
@pytest.mark.parametrize(
    ("inputs", "weights"),
    [(1e-25, 1), (1e-12, 1e-20), (1e-38, 1e30), (1, 1e-40), (1e10, 1e20), (1e20, 1), (3e38, 1e-20)],
)
def test_tiny_and_huge_units_are_as_good_as_any(inputs: float, weights: float, levels: str):
    rng = np.random.default_rng(4)
    w = (rng.standard_normal((16, 8)) * weights).astype(np.float32)
    x = (np.clip(rng.standard_normal((256, 16)) / 3, -1, 1) * inputs).astype(np.float32)
    design = daqkf.compile(w, calibration=x, levels=levels, target="tiny")
    real = x.astype(float) @ w.astype(float)
    noise = ((design.reference(x) - real) / np.abs(real).max()) ** 2
    assert 10 * np.log10(((real / np.abs(real).max()) ** 2).sum() / noise.sum()) > 30


def test_results_beyond_float32_are_refused():
    with pytest.raises(daqkf.DaqkfError, match="a sum is beyond float32"):
        daqkf.compile(np.full((16, 8), 1e38), calibration=np.ones((256, 16)), target="tiny")


def with_value(value: float) -> np.ndarray[Any, Any]:
    weights = WEIGHTS.copy()
    weights[3, 5] = value
    return weights


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": with_value(np.nan)}, r"weights\[3, 5\] is nan; all must be finite"),
        ({"weights": with_value(np.inf)}, r"weights\[3, 5\] is inf; all must be finite"),
        ({"weights": with_value(1e300)}, r"weights\[3, 5\] is inf; all must be finite in float32"),
        ({"weights": np.ones(3)}, r"weights must have the shape \[K, N\], not \[3\]"),
        ({"weights": np.ones((2, 2, 2))}, r"weights must have the shape \[K, N\]"),
        ({"weights": np.ones((0, 3))}, r"weights must not be empty, but have the shape \[0, 3\]"),
        ({"weights": np.ones((3, 0))}, r"weights must not be empty, but have the shape \[3, 0\]"),
        ({"weights": np.ones((2, 2), complex)}, "weights must be real numbers, not complex128"),
        ({"weights": [["a"]]}, "weights must be real numbers"),
        ({"bias": np.ones(3)}, "bias has 3 entries for 12 output channels"),
        ({"bias": np.full(12, np.nan)}, r"bias\[0\] is nan"),
        ({"bias": np.ones((12, 1))}, r"bias must have the shape \[N\], not \[12, 1\]"),
        ({"activation": "swish"}, r"unknown activation 'swish' \(known: relu, gelu"),
        ({"sparsity": 1.0}, "sparsity must be 0 <= sparsity < 1, not 1.0"),
        ({"sparsity": float("nan")}, "sparsity must be 0 <= sparsity < 1, not nan"),
        ({"split": 1.0}, "split must be 0 <= split < 1, not 1.0"),
        ({"split": float("nan")}, "split must be 0 <= split < 1, not nan"),
        ({"levels": "int4"}, "unknown level set 'int4'"),
        ({"levels": "uniform-200"}, "a level set needs 1 <= magnitudes <= maximum <= 127"),
        ({"levels": "codebook-9-5"}, "not 9 magnitudes up to 5"),
        ({"levels": "ternary-3"}, "a ternary level set has one magnitude, 1"),
        ({"target": "nowhere"}, r"unknown target 'nowhere' \(known: generic, one-token, tiny"),
        ({"weights": np.ones((64, 2))}, "64 features; the target holds at most 63"),
        ({"weights": np.ones((2, 33))}, "33 outputs; the target holds at most 32"),
        ({"calibration": np.ones((3, 39))}, r"calibration samples: an array of shape \(3, 39\)"),
        (
            {"calibration": np.where(np.arange(40) == 7, np.nan, np.ones((3, 40)))},
            "calibration samples contain NaN or infinity, first in row 0, feature 7",
        ),
        ({"calibration": np.ones(40)}, r"calibration samples must be numbers \[T, K\]"),
    ],
)
def test_bad_input_is_named(arguments: dict[str, Any], message: str):
    defaults: dict[str, Any] = {"weights": WEIGHTS, "target": "tiny", "levels": 3}
    with pytest.raises(daqkf.DaqkfError, match=message) as caught:
        daqkf.compile(**(defaults | arguments))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((2, 39)), r"activations must have the shape \[T, 40\], not \[2, 39\]"),
        (np.ones(40), r"activations must have the shape \[T, 40\]"),
        (np.ones((0, 40)), r"activations must have the shape \[T, 40\], not \[0, 40\]"),
        (np.ones((2, 40), int), "activations must be int8 or float, not int64"),
        (np.full((2, 40), np.nan), "activations contain NaN or infinity"),
    ],
)
def test_bad_activations_are_named(design: daqkf.Design, x: Any, message: str):
    with pytest.raises(daqkf.DaqkfError, match=message):
        design.simulate(x)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int8", ("uniform", 127, 127)),
        ("uniform-15", ("uniform", 15, 15)),
        ("codebook-15", ("codebook", 15, 31)),
        ("codebook", ("codebook", 15, 31)),
        ("uniform", ("uniform", 15, 15)),
        ("codebook-100", ("codebook", 100, 127)),
        ("codebook-7-63", ("codebook", 7, 63)),
        ("ternary", ("ternary", 1, 1)),
        ("binary", ("binary", 1, 1)),
        (5, ("uniform", 5, 5)),
    ],
)
def test_short_forms_of_level_sets(text: Any, expected: tuple[str, int, int]):
    assert level_set(text) == daqkf.LevelSet(*expected)


@pytest.mark.slow
def test_sums_at_their_ends_do_not_wrap():
    """What a stream has too much (`numerics.streamed_bound`) is beyond 128·Σ|w| of 16 bits."""
    weights = np.array([[-127.0], [-73.0], [-52.0], [-3.0]])
    rows = np.vstack([np.eye(4), -np.eye(4), np.ones((1, 4))])
    design = daqkf.compile(weights, bias=[-300.0], levels="int8", target="wide", calibration=rows)
    assert design.config.accumulator_width < design.config.sum_width
    x = np.repeat(np.array([[-128], [127]], np.int8), 4, axis=1)
    np.testing.assert_array_equal(design.simulate(x), design.reference(x))
