# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Normalisations in front of products, as the array has them."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import SMALL, TEXT, random_weights, write_folder
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

import daqkf
from daqkf.cli.main import main
from daqkf.compiler.compiled_language_model import CompiledLanguageModel
from daqkf.compiler.decoding import Engine
from daqkf.compiler.language_models import batches_of, load_language_model, text_codec
from daqkf.dialects.nn import MatmulOp
from daqkf.dialects.nn.base import EXACT, UNSCALED
from daqkf.dialects.nn.ops import constant_of
from daqkf.hw_targets import load_target
from daqkf.hw_targets.numerics import EXPONENT_MAX
from daqkf.lowering.frontends.decoder import LOGITS, LanguageModel
from daqkf.passes.nn_pre_norm import NnPreNormPass, place_norms
from daqkf.passes.nn_scale import NnScalePass, ranges_on, scale_rows, scales_of
from daqkf.passes.quantize.network_statistics import outputs_of

TARGET = "wide-norm:row_exponents=5"
WIDE = "wide-memory"
"""A target whose results may be int16, which gates stay with the host for."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder, some of whose normalisations turn or take away a feature."""
    weights = random_weights(SMALL)
    for name, values in weights.items():
        if "norm" in name:
            values[3], values[5], values[7] = -values[3], 0, 0.001
    path = tmp_path_factory.mktemp("model") / "decoder"
    write_folder(path, SMALL, weights)
    return path


@cache
def model_of(folder: Path) -> LanguageModel:
    return load_language_model(folder)


def inputs(folder: Path) -> list[Mapping[str, NDArray[Any]]]:
    model = model_of(folder)
    return batches_of(model.config, text_codec(model), TEXT)


def placed(folder: Path, known: bool) -> ModuleOp:
    network = model_of(folder).network()
    ranges = ranges_on(network, inputs(folder)) if known else {}
    place_norms(NnPreNormPass(TARGET), network, load_target(TARGET).machine, ranges)
    return network


@pytest.mark.parametrize("known", [True, False])
def test_the_network_computes_the_same(folder: Path, known: bool):
    """But for the epsilon, which is added to rows of another size."""
    network, dense = placed(folder, known), model_of(folder).network()
    for batch in inputs(folder):
        wanted = outputs_of(dense, batch)[LOGITS]
        np.testing.assert_allclose(outputs_of(network, batch)[LOGITS], wanted, atol=5e-3)


def test_features_are_brought_to_one_range(folder: Path):
    network = placed(folder, known=True)
    products = [op for op in network.walk() if isinstance(op, MatmulOp)]
    exact = [op for op in products if EXACT in op.attributes]
    assert len(exact) == 2 * SMALL.layers + 1
    for op in exact:
        matrix = constant_of(op.rhs)
        assert matrix is not None
        steps = np.log2(np.diag(matrix))
        assert (matrix == np.diag(np.diag(matrix))).all() and steps.max() == 0
        assert (steps == np.rint(steps)).all() and steps.min() >= -EXPONENT_MAX
    for low, high in ranges_of_unscaled(network, inputs(folder)):
        most = np.maximum(-low, high)
        assert np.delete(most, [5, 7]).min() > most.max() / 3


def ranges_of_unscaled(
    network: ModuleOp, batches: list[Mapping[str, NDArray[Any]]]
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """The ranges of what the products behind normalisations read."""
    free = network.clone()
    for op in free.walk():
        op.attributes.pop(UNSCALED, None)
    names = {"query", "key", "value", "gate", "up"}
    return [
        found
        for op, found in ranges_on(free, batches).items()
        if str(op.attributes["node"]).strip('"').rsplit(".", 1)[-1] in names
    ]


def test_the_host_scales_the_rows_of_others(folder: Path):
    network = placed(folder, known=True)
    scales = scales_of(ranges_on(network, inputs(folder)))
    scale_rows(NnScalePass(), network, scales)
    names = {str(op.attributes["node"]).strip('"') for op in scales}
    assert names == {f"layers.{layer}.attention.output" for layer in range(SMALL.layers)}


@cache
def compiled(folder: Path, target: str, **options: Any) -> CompiledLanguageModel:
    found = daqkf.compile(str(folder), calibration=TEXT, target=target, pre_norms=True, **options)
    assert isinstance(found, CompiledLanguageModel)
    return found


def test_a_layer_is_two_chains_and_a_product(folder: Path):
    found = {stage.name: (stage.kernels, stage.rows) for stage in compiled(folder, TARGET).stages}
    norm, gate = {"normalization": 1}, {"normalization": 1, "gating": 1}
    layers = {
        f"layers.{layer}.{name}": what
        for layer in range(SMALL.layers)
        for name, what in (
            ("attention.norm_query_key_value", (2, norm)),
            ("attention.output", (1, {})),
            ("ffn.norm_gate_up_down", (3, gate)),
        )
    }
    assert found == layers | {"norm_output": (2, norm)}


def test_gates_stay_with_the_host_where_results_are_wide(folder: Path):
    found = compiled(folder, WIDE).stages
    names = {stage.name: stage.kernels for stage in found if "ffn" in stage.name}
    assert names == {
        f"layers.{layer}.ffn.{name}": kernels
        for layer in range(SMALL.layers)
        for name, kernels in (("norm_gate_up", 2), ("down", 1))
    }
    assert all(stage.wide for stage in found)


@pytest.mark.parametrize("options", [{}, {"sparsity": 0.5, "levels": "uniform-15"}])
@pytest.mark.parametrize("target", [TARGET, WIDE])
def test_the_compiled_model_is_about_the_float_one(
    folder: Path, target: str, options: dict[str, Any]
):
    """As it is where the host normalises, but for what int8 costs."""
    model = model_of(folder)
    reference = Engine(model.network(), model.config)
    own = {"sequential": True, **options}
    found = compiled(folder, target, **own).evaluate(TEXT, reference=reference)
    plain = daqkf.compile(str(folder), calibration=TEXT, target=target, **own)
    assert isinstance(plain, CompiledLanguageModel)
    before = plain.evaluate(TEXT, reference=reference)
    assert found.kl is not None and before.kl is not None
    assert found.kl < before.kl + (0.05 if options else 0.003)


@pytest.mark.parametrize("target", [TARGET, WIDE])
def test_the_rtl_is_the_fast_model_bit_for_bit(folder: Path, target: str):
    model = compiled(folder, target)
    text = "".join(model.generate("the the 12", tokens=3))
    engine = model.engine("rtl", None, check=True)
    assert "".join(model.generate("the the 12", tokens=3, engine=engine)) == text


@pytest.mark.parametrize("target", [TARGET, WIDE])
def test_where_accuracy_gets_lost_is_told_kernel_by_kernel(folder: Path, target: str):
    """By a float network with the same kernels."""
    model = compiled(folder, target)
    errors = model.debug(inputs(folder)[0], model_of(folder).network())
    assert [row.name for row in errors] == [stage.name for stage in model.stages]
    assert min(row.sqnr for row in errors) > 15


def test_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "text.txt").write_text(TEXT)
    arguments = ["--calibration", str(tmp_path / "text.txt"), "--target", TARGET, "--pre-norms"]
    net = str(tmp_path / "net")
    assert main(["compile", str(folder), "-o", net, *arguments]) == 0
    assert "normal" in capsys.readouterr().out
    assert CompiledLanguageModel.load(net).options.pre_norms
    np.save(tmp_path / "w.npy", np.ones((4, 4), np.float32))
    assert main(["compile", str(tmp_path / "w.npy"), "-o", net, "--pre-norms"]) == 1
    assert "--pre-norms is for networks" in capsys.readouterr().err
