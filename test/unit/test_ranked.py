# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Kernels whose integers are in the order of what they stand for, so that an array may choose."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import SMALL, TEXT, changed, fields_of, random_weights, write_gguf
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

import daqkf
from daqkf.cli.main import main
from daqkf.compiler.compiled_language_model import CompiledLanguageModel
from daqkf.compiler.generation import Sampling
from daqkf.compiler.language_models import inputs_of, load_language_model
from daqkf.compiler.options import NetworkOptions
from daqkf.compiler.outlining import outlined
from daqkf.dialects.errors import DaqkfError
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn.base import RANKED
from daqkf.dialects.rpea import ArrayOp, ProgramOp
from daqkf.dialects.rpea.interpreter import run_kernel
from daqkf.dialects.spaq import DequantizeOp, LevelSet
from daqkf.lowering.frontends.decoder import OUTPUT
from daqkf.lowering.image.disassemble import import_program
from daqkf.passes.nn_row_scales import (
    constant_of_rows,
    take_weights,
    with_bias,
    without_row_scales,
)
from daqkf.passes.nn_scale import Scales, ranges_on, scales_of
from daqkf.passes.quantize.network_pruning import single_layers
from daqkf.passes.quantize.network_statistics import Batch
from daqkf.passes.quantize.sequential import quantize_sequentially
from daqkf.passes.quantize.weights import bias_of, put_bias
from daqkf.runtime.simulator import Job

CONFIG = changed(SMALL, layers=1)
CHOOSING = "tiny:wide_results=true,top_k=3"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return write_gguf(folder / "model.gguf", fields_of(CONFIG), random_weights(CONFIG))


@pytest.fixture(scope="module")
def model(path: Path) -> CompiledLanguageModel:
    found = daqkf.compile(path, calibration=TEXT, levels="uniform-15", target=CHOOSING)
    assert isinstance(found, CompiledLanguageModel)
    return found


def texts(seed: int, count: int) -> list[Batch]:
    rng = np.random.default_rng(seed)
    return [inputs_of(CONFIG, rng.integers(0, CONFIG.vocabulary, 40)) for _ in range(count)]


def decoder(path: Path) -> ModuleOp:
    """A decoder whose products are kernels, of which that of the logits is ranked."""

    def scaling(module: ModuleOp, _: bool) -> Any:
        return scales_of(ranges_on(module, texts(3, 4)), ranked=[OUTPUT])

    options = NetworkOptions(scale_rows=True, ranked=OUTPUT)
    return outlined(load_language_model(path).network(), options, scaling=scaling)[0]


def logits(network: ModuleOp, batches: list[Batch]) -> NDArray[Any]:
    return np.concatenate(
        [call(network, entry(network), tuple(batch.values()))[0] for batch in batches]
    )


def test_rows_are_scaled_by_their_largest_magnitude(path: Path):
    network, batches = decoder(path), texts(1, 2)
    kernel = single_layers(network)[OUTPUT]
    function = kernel.matmul.parent_op()
    assert isinstance(function, FuncOp) and RANKED in function.attributes
    assert len(kernel.weights.array()) == CONFIG.width + 1
    assert not kernel.weights.array()[-1].any()
    scales, constant = Scales.read(kernel.call.input), constant_of_rows(kernel.call)
    assert scales is not None and scales.constant == constant and scales.centre == 0
    assert constant is not None and constant > 0 and len(scales.features) == CONFIG.width
    plain = without_row_scales(network)
    assert constant_of_rows(single_layers(plain)[OUTPUT].call) == constant
    dense = load_language_model(path).network()
    for other in (network, plain):
        assert np.allclose(logits(dense, batches), logits(other, batches), atol=1e-4)


@pytest.mark.parametrize("levels", [None, LevelSet.of("uniform", 15, None)])
def test_the_constant_feature_does_what_a_bias_does(levels: LevelSet | None, path: Path):
    """Exactly, if weights are only pruned, and as far as levels go, if they are rounded."""
    network, batches = decoder(path), texts(1, 4)
    plain = without_row_scales(network)
    if levels is None:
        kernel = single_layers(plain)[OUTPUT]
        bias = np.random.default_rng(3).standard_normal(CONFIG.vocabulary, np.float32)
        put_bias(kernel.matmul, bias)
    else:
        quantize_sequentially(plain, batches, levels, 0.5)
        bias = bias_of(single_layers(plain)[OUTPUT].matmul)
        assert bias is None or not bias.array().any()
        assert single_layers(plain)[OUTPUT].weights.array()[-1].any()
    take_weights(network, plain)
    assert np.allclose(logits(plain, batches), logits(network, batches), atol=1e-4)
    weights = np.ones((3, 2), np.float32)
    assert with_bias(weights, np.array([2.0, -4.0]), 2.0)[-1].tolist() == [2, -1]
    assert weights[-1].tolist() == [1, 1]


def test_results_of_a_kernel_have_one_scale(model: CompiledLanguageModel):
    scales: dict[str, Any] = {}
    for op in model.network.walk():
        if isinstance(op, DequantizeOp):
            function = op.parent_op()
            assert isinstance(function, FuncOp)
            scales[function.sym_name.data] = op.scales()
    assert isinstance(scales.pop(OUTPUT), float)
    assert scales and all(isinstance(scale, np.ndarray) for scale in scales.values())


def test_an_array_gives_the_largest_logits_alone(model: CompiledLanguageModel):
    """As many as the array can find; in their order, and equal to those of the fast model."""
    assert model.largest_logits == 3
    tokens = model.text.encode(TEXT)[:9]
    every = model.engine().decoder().read(tokens)
    accelerator = Golden(model)
    found = model.engine(accelerator, check=True, logits=3).decoder().read(tokens)
    order = np.argsort(-every, axis=1, kind="stable")[:, :3]
    assert np.array_equal(np.sort(order), np.nonzero(np.isfinite(found))[1].reshape(-1, 3))
    where = np.isfinite(found)
    assert np.array_equal(found[where], every[where]) and (found[~where] == -np.inf).all()
    # The kernel of the logits is several programs, each of which has its largest.
    assert len(accelerator.chosen) > 1 and set(accelerator.chosen) == {6}
    for wanted in (None, 4):
        accelerator = Golden(model)
        whole = model.engine(accelerator, check=True, logits=wanted).decoder().read(tokens)
        np.testing.assert_array_equal(whole, every)
        assert not accelerator.chosen


class Golden:
    """Runs images as the golden model does, and sees how much leaves it."""

    def __init__(self, model: CompiledLanguageModel):
        (self.array,) = (op for op in model.arrays.ops if isinstance(op, ArrayOp))
        self.chosen: list[int] = []
        """Columns of the results of programs that gave only their largest."""

    def run(self, jobs: Sequence[Job]) -> list[NDArray[Any]]:
        found: list[NDArray[Any]] = []
        for job in jobs:
            assert job.image is not None
            ops = import_program(job.image, self.array).ops
            (program,) = (op for op in ops if isinstance(op, ProgramOp))
            found.append(run_kernel(program, job.x))
            assert found[-1].shape[1] == job.outputs
            if program.top_k:
                self.chosen.append(job.outputs)
        return found


def test_sampling_says_how_many_logits_it_takes():
    assert Sampling().most == 1
    assert Sampling(temperature=0.7).most is None
    assert Sampling(temperature=0.7, top_k=5).most == 5
    assert Sampling(top_k=5).most == 1


def test_what_is_written_does_not_change(model: CompiledLanguageModel):
    for named in ({}, {"temperature": 1.0, "top_k": 3, "seed": 4}):
        sampling: dict[str, Any] = {"tokens": 6, **named}
        engine = model.engine(Golden(model), logits=Sampling(**sampling).most)
        found = list(model.generate("the 1", engine=engine, **sampling))
        assert found == list(model.generate("the 1", **sampling))


def test_models_without_it(path: Path):
    """Arrays that find nothing, and models that do not want it, or whose logits are int8, give all
    of them."""
    for target, named in (
        ("tiny:wide_results=true", {}),
        (CHOOSING, {"ranked": ""}),
        (CHOOSING, {"wide_results": "*.ffn.down"}),
    ):
        given: dict[str, Any] = {"calibration": TEXT, "levels": "uniform-15", **named}
        found = daqkf.compile(path, target=target, **given)
        assert isinstance(found, CompiledLanguageModel)
        assert found.largest_logits == 0
        (kernel,) = (
            op for op in found.network.ops if isinstance(op, FuncOp) and op.sym_name.data == OUTPUT
        )
        assert RANKED not in kernel.attributes


def test_bad_names_are_refused(path: Path):
    with pytest.raises(DaqkfError, match="ranked: no kernel is called 'heads'"):
        daqkf.compile(path, calibration=TEXT, target=CHOOSING, ranked="heads")
    with pytest.raises(DaqkfError, match="ranked results are of kernels whose rows are scaled"):
        daqkf.compile(path, calibration=TEXT, target=CHOOSING, ranked=OUTPUT, scale_rows=False)


def test_a_layer_has_no_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    np.save(tmp_path / "w.npy", np.ones((4, 4), np.float32))
    layer = ["compile", str(tmp_path / "w.npy"), "-o", str(tmp_path / "layer")]
    assert main([*layer, "--ranked", OUTPUT]) == 1
    assert "--ranked is for networks" in capsys.readouterr().err


def test_it_is_kept_in_a_folder(model: CompiledLanguageModel, tmp_path: Path):
    model.save(tmp_path)
    loaded = daqkf.load(tmp_path)
    assert isinstance(loaded, CompiledLanguageModel) and loaded == model
    assert loaded.largest_logits == 3
