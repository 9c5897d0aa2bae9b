# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What attention of SmolLM2 on an array takes when one token is written, and what it loses.

The first table is of a layer that has read so many tokens: the bytes of its program, the
milliseconds in which the host makes it anew and when one token came, and cycles of the array, by
what it says of itself. Keys and values are random ones. With `--text`, the second table is of
the model's own, all else in floats: its KL to the float model on a part of its evaluation text.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from xdsl.dialects.builtin import DYNAMIC_INDEX, TensorType, f32
from xdsl.dialects.test import TestOp

from daqkf.compiler.decoding import Engine
from daqkf.compiler.evaluation import evaluate
from daqkf.compiler.language_models import batches_of, load_language_model
from daqkf.compiler.products import attention_image, attention_requirement
from daqkf.dialects.dense import to_array
from daqkf.dialects.nn import CausalAttentionOp
from daqkf.dialects.nn.attention import Operands
from daqkf.dialects.rpea import ArrayOp, ProgramOp
from daqkf.hw_targets import load_target
from daqkf.hw_targets.machine import Machine
from daqkf.hw_targets.timing import softmax_cycles
from daqkf.lowering.conversions.config_sizing import shared_config
from daqkf.lowering.conversions.dfke_to_rpea import ARRAY_NAME
from daqkf.lowering.conversions.separate_columns import SeparateColumns
from daqkf.lowering.image.disassemble import import_program
from daqkf.passes.nn_attention import quantize_attention
from daqkf.passes.quantize.attention import attention_scales, exponential_table
from daqkf.studies.smollm2.packaged import find_smollm2, own_text
from daqkf.support.tables import table_console

HEADS, GROUPS, FEATURES = 9, 3, 64
TOKENS = 32, 128, 512
LEVELS = 15, 31, 127


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", default="wide-norm", help="default: wide-norm")
    parser.add_argument("--text", type=int, default=0, help="tokens of text; default: none")
    options = parser.parse_args(arguments)
    machine = load_target(options.target).machine
    names = "levels", "tokens", "bytes", "ms anew", "ms a token"
    table = Table(*names, "cycles to load", "scores", "softmax", "results")
    for levels in LEVELS:
        for tokens in TOKENS:
            table.add_row(str(levels), str(tokens), *step(levels, tokens, machine))
    table_console().print(table)
    if options.text:
        table_console().print(losses(options.text, machine))


def operation(levels: int) -> CausalAttentionOp:
    """An attention as SmolLM2 has it."""
    queries, cache = (
        TensorType(f32, [DYNAMIC_INDEX, heads, FEATURES]) for heads in (HEADS, GROUPS)
    )
    ranges = {"queries": 3.0, "keys": 3.0, "scores": 20.0, "shares": 1.0, "values": 1.0}
    each = {name: np.full(GROUPS, most) for name, most in (ranges | {"results": 1.0}).items()}
    steps, factors = attention_scales(each, FEATURES**-0.5, levels)
    q, k = TestOp(result_types=[queries, cache]).results
    table = exponential_table(steps.scores)
    scale = FEATURES**-0.5
    return CausalAttentionOp(
        q, k, k, (k, k), scale=scale, levels=levels, steps=steps, factors=factors, table=table
    )


def step(levels: int, tokens: int, machine: Machine) -> list[str]:
    """The row of a number of levels and of tokens, without these."""
    op, rng = operation(levels), np.random.default_rng(levels)
    config = shared_config(attention_requirement([op], tokens, machine))
    columns, shape = SeparateColumns(config), (tokens, GROUPS, FEATURES)
    keys = op.key_levels(rng.standard_normal(shape))
    values = op.value_levels(0.3 * rng.standard_normal(shape))

    def made(operands: Operands) -> tuple[bytes, float]:
        began = time.process_time()
        image = attention_image(op, operands, config, machine, columns)
        return image, 1e3 * (time.process_time() - began)

    _, anew = made(op.operands_of(keys[:-1], values[:-1], tokens - 1))
    image, again = made(op.operands_of(keys, values, 1))
    programs = [
        kernel
        for kernel in import_program(image, ArrayOp(ARRAY_NAME, config)).ops
        if isinstance(kernel, ProgramOp)
    ]
    scores, results = (int(to_array(program.rows).max()) for program in programs)
    shares = softmax_cycles(config, GROUPS * tokens, tokens)
    beats = 8 * len(image) // config.program_bits
    cycles = [f"{count:,}" for count in (beats, scores, shares, results)]
    return [f"{len(image):,}", f"{anew:.0f}", f"{again:.0f}", *cycles]


def losses(tokens: int, machine: Machine) -> Table:
    """How far the model is from the float one with attention in int8, on so many tokens."""
    model = load_language_model(find_smollm2())
    codec, network = model.text(), model.network()
    text = codec.decode(codec.encode(own_text("evaluation").read_text())[:tokens])
    samples = batches_of(model.config, codec, own_text("calibration").read_text(), tokens)[:1]
    reference, table = Engine(network, model.config), Table("levels", "KL", "same first word")
    with Console(stderr=True).status("") as status:
        for levels in LEVELS:
            status.update(f"{levels} levels")
            integer = network.clone()
            quantize_attention(integer, samples, machine, np.inf, levels, tokens)
            engine = Engine(integer, model.config)
            found = evaluate(engine, codec, text, tokens, reference)
            table.add_row(str(levels), f"{found.kl:.4f}", f"{found.same_first:.2f}")
    return table


if __name__ == "__main__":
    main()
