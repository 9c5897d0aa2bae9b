# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A network's file as kernels over f32, and what the host runs around them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.design import run_passes
from daqkf.compiler.formats import load_network
from daqkf.compiler.options import NetworkOptions
from daqkf.compiler.pipelines import OUTLINE, fusion
from daqkf.compiler.rows import with_free_rows
from daqkf.dialects.diagnostics import verify
from daqkf.dialects.nn import MatmulOp, QuantizeOp
from daqkf.hw_targets import load_target
from daqkf.hw_targets.machine import Machine
from daqkf.passes.nn_dequantize import NnDequantizePass
from daqkf.passes.nn_levels import is_quantized
from daqkf.passes.nn_outline import NnOutlinePass
from daqkf.passes.nn_pre_norm import NnPreNormPass, place_norms
from daqkf.passes.nn_scale import NnScalePass, Ranges, Scales, scale_rows
from daqkf.passes.progress import Progress, silent
from daqkf.support.errors import DaqkfError


def outlined(
    source: str | Path | ModuleOp,
    options: NetworkOptions,
    progress: Progress = silent,
    scaling: Callable[[ModuleOp, bool], Mapping[MatmulOp, Scales]] | None = None,
    host: Sequence[str] = (),
    ranges: Callable[[ModuleOp], Ranges] | None = None,
) -> tuple[ModuleOp, bool]:
    """A network whose products with constant weights are kernels over f32.

    And whether its weights are to keep the levels that the file has for them.

    Rows are scaled where the options ask for it, and if they leave it open, where a file has levels
    of weights but of no activations: int8 of one scale for all rows is coarse beside such weights.

    Args:
        source: a file that `load_network` reads, or its module of `nn`.
        options: `requantize`, `fixed`, `pre_norms`, `scale_rows` and `ranked` count.
        progress: told of each step.
        scaling: the scales of a network's products, of which it is also told whether weights keep
            their levels; without it no rows are scaled.
        host: kernels that stay with the host.
        ranges: those of what products read, for normalisations in front of them; without it
            nothing is known of them.

    Raises:
        DaqkfError: a file that cannot be read or has something unsupported.
    """
    progress("read")
    if isinstance(source, ModuleOp):
        if options.fixed:
            raise DaqkfError("inputs are fixed when a file is read, not in a module")
        network = source.clone()
    else:
        network = with_free_rows(
            load_network(source, fixed=options.fixed),
            lambda: load_network(source, fixed=options.fixed, free=True),
        )
    verify(network)
    keeps = is_quantized(network) and not options.requantize
    progress("cut out kernels")
    dequantize, outline = NnDequantizePass(options.requantize), NnOutlinePass(host=tuple(host))
    passes = [dequantize if name == dequantize.name else name for name in OUTLINE]
    run_passes(network, [name for name in passes if name != outline.name])
    if options.pre_norms:
        machine, found = load_target(options.target).machine, ranges and ranges(network)
        place_norms(NnPreNormPass(options.target), network, machine, found or {})
    scales = options.scale_rows
    if scales is None:
        scales = keeps and not any(isinstance(op, QuantizeOp) for op in network.walk())
    if scales and scaling is not None:
        given = NnScalePass(keep=keeps, ranked=options.ranked_names)
        scale_rows(given, network, scaling(network, keeps))
    run_passes(network, [outline])
    return network, keeps


def fuse(network: ModuleOp, options: NetworkOptions, machine: Machine) -> None:
    """Merge and chain kernels, gate and normalise, where that pays."""
    cycles, products = options.host_cycles, options.products
    run_passes(network, fusion(options.target, machine, cycles, products, options.max_tokens))
