# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A layer of MiniLM on an engine as large as those that fill devices, in RTL."""

from pathlib import Path

import numpy as np
import pytest

from daqkf.compiler.network import compile_network
from daqkf.hw_targets.memory import load_memory
from daqkf.studies.minilm.export_onnx import export_minilm
from daqkf.studies.minilm.model import MiniLM, load_calibration, load_sentences

TARGET = (
    "wide-memory:pes=4,lanes=128,post_lanes=32,operand_depth=0,softmax=false,causal=false,"
    "memory_bits=512"
)
"""Four elements of 128 lanes, whose streams come over a port of 512 bits."""


@pytest.mark.slow
def test_a_layer_of_minilm_runs_on_512_lanes_bit_for_bit(tmp_path: Path):
    """Behind DDR4: queries, keys and values in one program, and from the attention's output to the
    layer's end in another, with residuals, normalisation and GELU."""
    model, path = MiniLM.load(), tmp_path / "layer.onnx"
    path.write_bytes(export_minilm(model, layers=1).SerializeToString())
    names = ["input_ids", "attention_mask"]
    calibration, x = (
        dict(zip(names, model.tokenize(sentences), strict=True))
        for sentences in (load_calibration()[:12], load_sentences()[:6])
    )
    network = compile_network(
        path,
        calibration=calibration,
        levels="uniform-15",
        sparsity=0.7,
        second_order=False,
        target=TARGET,
    )
    assert network.config.pes * network.config.lanes == 512
    assert sum(stage.kernels for stage in network.stages) >= 4
    device = network.simulated
    device.memory = load_memory("ddr4-2400").timing(250e6, network.config)
    (y,) = network.run(x, accelerator="rtl", check=True).values()
    (expected,) = network.run(x).values()
    np.testing.assert_array_equal(y, expected)
    assert len(device.cycles) == len(network.stages)
