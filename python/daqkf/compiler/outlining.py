# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A network's file as kernels over f32, and what the host runs around them."""

from pathlib import Path

from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.design import run_passes
from daqkf.compiler.formats import load_network
from daqkf.compiler.pipelines import OUTLINE
from daqkf.dialects.diagnostics import verify
from daqkf.passes.nn_dequantize import NnDequantizePass
from daqkf.passes.nn_levels import is_quantized
from daqkf.passes.progress import Progress


def outlined(
    source: str | Path | ModuleOp,
    requantize: bool = False,
    progress: Progress = lambda name: None,
) -> tuple[ModuleOp, bool]:
    """A network whose products with constant weights are kernels over f32.

    And whether its weights are to keep the levels that the file has for them.

    Raises:
        DaqkfError: a file that cannot be read or has something unsupported.
    """
    progress("read")
    network = source.clone() if isinstance(source, ModuleOp) else load_network(source)
    verify(network)
    keeps = is_quantized(network) and not requantize
    progress("cut out kernels")
    dequantize = NnDequantizePass(requantize)
    run_passes(network, [dequantize if name == dequantize.name else name for name in OUTLINE])
    return network, keeps
