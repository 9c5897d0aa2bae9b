# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""SmolLM2 on the array in RTL, its real weights at half zeros: a layer, and all of them."""

import numpy as np
import pytest
from language_models import smollm2_or_skip

from daqkf.compiler.compiled_language_model import CompiledLanguageModel
from daqkf.compiler.language_models import compile_language_model, load_language_model

pytestmark = pytest.mark.slow

TEXT = (
    "The harbour was quiet before the ships came in, and the old woman who sold bread there knew "
    "each sailor by his walk. In winter she told them what the wind would do."
)
PROMPT, WRITTEN = 16, 4
"""Tokens that are read at once, and those that follow one by one."""


@pytest.fixture(scope="module")
def model() -> CompiledLanguageModel:
    """With attention on the array, in exact integers."""
    return compile_language_model(
        load_language_model(smollm2_or_skip()),
        calibration=TEXT,
        levels="uniform-15",
        sparsity=0.5,
        second_order=False,
        target="wide-norm",
        products=True,
        host_cycles=float("inf"),
        attention_levels=31,
        max_tokens=PROMPT + WRITTEN,
        jobs=None,
    )


def test_a_layer_reads_a_prompt_and_goes_on(model: CompiledLanguageModel):
    tokens = model.text.encode(TEXT)[: PROMPT + WRITTEN]
    fast = model.engine().decoder()
    rtl = model.engine("rtl", layers=[0], check=True).decoder()
    for part in (tokens[:PROMPT], *np.split(tokens[PROMPT:], WRITTEN)):
        np.testing.assert_array_equal(rtl.read(part), fast.read(part))
    # Queries, keys and values; all heads; their output; gates and what they multiply; and down.
    assert len(model.selected("layers.0.")) == 5
    # The program of attention is another one for each of the readings.
    assert len(model.simulated.cycles) >= 5 + WRITTEN


def test_all_layers_read_a_token(model: CompiledLanguageModel):
    before = len(model.simulated.cycles)
    token = model.text.encode(TEXT)[:1]
    rtl = model.engine("rtl", check=True).decoder()
    np.testing.assert_array_equal(rtl.read(token), model.engine().decoder().read(token))
    assert len(model.simulated.cycles) > before + 4 * model.decoder_config.layers
