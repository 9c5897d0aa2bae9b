# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Find how int8 attention with few levels of keys and values changes MiniLM's embeddings.

All else is computed in floats. For each number of levels, the table has the cosine to the float
model, and the bytes per token and layer of the programs that keys and values become. The bytes are
those of a sample of sequences and layers.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from daqkf.compiler.design import run_passes
from daqkf.compiler.formats import load_network
from daqkf.compiler.products import attention_image, attention_requirement
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn import AttentionOp
from daqkf.dialects.nn.attention import IntegerAttention, Operands
from daqkf.dialects.nn.interpreter import NnFunctions
from daqkf.hw_targets import load_target
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.machine import Machine
from daqkf.lowering.conversions.config_sizing import shared_config
from daqkf.passes.nn_attention import quantize_attention
from daqkf.studies.minilm.export_onnx import export_minilm
from daqkf.studies.minilm.model import MiniLM, load_calibration, load_sentences, pool
from daqkf.support.tables import table_console

LEVELS = 7, 15, 31, 63, 127
EVERY = 24
"""One of this many sequences and layers is packed into a program, to count its bytes."""
CALIBRATION = 200
"""The number of calibration sentences."""


@dataclass
class Packed:
    """Computes attention exactly, and counts the bytes of a sample of its programs."""

    config: ArrayConfig
    machine: Machine
    sequences: int = 0
    tokens: int = 0
    bytes: int = 0
    """The bytes of the programs in the sample."""

    def attention(
        self, op: IntegerAttention, queries: NDArray[np.int8], operands: Operands
    ) -> NDArray[np.int8]:
        """The exact integers of the operation; the program of some sequences is measured."""
        if self.sequences % EVERY == 0:
            self.tokens += len(queries)
            self.bytes += len(attention_image(op, operands, self.config, self.machine))
        self.sequences += 1
        return op.integers(queries, operands)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sentences", type=int, default=32, help="default: 32")
    parser.add_argument("--target", default="wide-norm", help="default: wide-norm")
    options = parser.parse_args(arguments)
    machine, model = load_target(options.target).machine, MiniLM.load()
    calibration, inputs = (
        dict(zip(("input_ids", "attention_mask"), model.tokenize(sentences), strict=True))
        for sentences in (load_calibration()[:CALIBRATION], load_sentences()[: options.sentences])
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "encoder.onnx"
        path.write_bytes(export_minilm(model).SerializeToString())
        network = load_network(path)
    run_passes(network, ["nn-raise"])
    reference = embeddings(call(network, entry(network), list(inputs.values())), inputs)
    table = Table("levels", "cosine to float", "least", "bytes of programs, a token and layer")
    with Console(stderr=True).status("") as status:
        for levels in LEVELS:
            status.update(f"{levels} levels")
            integer = network.clone()
            quantize_attention(integer, calibration, machine, np.inf, levels)
            ops = [op for op in integer.walk() if isinstance(op, AttentionOp)]
            most = inputs["input_ids"].shape[1]
            packed = Packed(shared_config(attention_requirement(ops, most, machine)), machine)
            host = NnFunctions(integers=packed.attention)
            found = call(integer, entry(integer), list(inputs.values()), host=host)
            cosines = np.sum(embeddings(found, inputs) * reference, axis=1)
            table.add_row(
                str(levels),
                f"{cosines.mean():.4f}",
                f"{cosines.min():.4f}",
                f"{packed.bytes / packed.tokens:,.0f}",
            )
    table_console().print(table)


def embeddings(
    states: Sequence[NDArray[Any]], inputs: dict[str, NDArray[Any]]
) -> NDArray[np.float32]:
    """The embeddings [B, D] of the last states [B, L, D]."""
    (found,) = states
    return pool(found, inputs["attention_mask"])


if __name__ == "__main__":
    main()
