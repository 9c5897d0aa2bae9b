# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Named pipelines; the command lines and the Python API only pick one.

A pipeline is a tuple of pass specs in the syntax of `-p`; each is there for the reason given.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from xdsl.passes import ModulePass

if TYPE_CHECKING:
    from daqkf.hw_targets.machine import Machine


OUTLINE = (
    "canonicalize",  # weights that are turned or cut out of others are constants like any
    "nn-dequantize",  # weights of a quantised file are constants like any
    "canonicalize",  # and so are those that are turned behind their scales
    "nn-fold",  # before functions are looked for, as it puts together what they are made of
    "nn-raise",  # named functions first: kernels take GELU with them, not an erf and what is around
    "nn-outline",  # products with constant weights become kernels
)

FUSE = (
    "nn-gate",  # before gates are merged with what else reads the same
    "nn-attend",  # takes the layers of queries, keys and values before they are merged
    "nn-merge",  # side by side before behind one another: it knows kernels of one layer only
    "nn-chain",
    "nn-normalize",  # what a chain reads may be what is added behind it
    "nn-chain",  # and what is normalised may be read by the next chain
)

NETWORK = (*OUTLINE, *FUSE)


def fusion(
    target: str, machine: "Machine", host_cycles: float, products: bool, max_tokens: int | None
) -> list[ModulePass]:
    """`FUSE` for a target, without attention unless products are the array's."""
    # `daqkf-opt` names pipelines without running any.
    from daqkf.passes.nn_attend import NnAttendPass
    from daqkf.passes.nn_chain import NnChainPass
    from daqkf.passes.nn_gate import NnGatePass
    from daqkf.passes.nn_merge import NnMergePass
    from daqkf.passes.nn_normalize import NnNormalizePass

    made: dict[str, Callable[[], ModulePass]] = {
        "nn-gate": lambda: NnGatePass(target, host_cycles),
        "nn-attend": lambda: NnAttendPass(target, max_tokens or machine.lanes),
        "nn-merge": lambda: NnMergePass(target),
        "nn-chain": lambda: NnChainPass(target),
        "nn-normalize": lambda: NnNormalizePass(target, host_cycles),
    }
    return [made[name]() for name in FUSE if products or name != "nn-attend"]


QUANTIZE = (
    "spaq-analyze",  # states the sparsity, which the later levels and reports read
    "spaq-quantize",  # float → exact integers; everything below is bit for bit
)

KERNELS = (
    "dfke-fuse",  # one kernel per layer: nothing between product and table leaves the array
    "dfke-specialize-bitwidth",  # sums as wide as the real weights need; before the schedule
    "dfke-schedule",  # outputs to elements, by their exact cost in stream words
)

LOWER = (
    "lower-dfke-to-rpea",  # sizes the array, lays out streams and parameters
)

CIRCUIT = (
    "lower-rpea-to-hw",  # last: leaves hardware only, programs have been taken before
)

PIPELINES: dict[str, tuple[str, ...]] = {
    "network": NETWORK,
    "quantize": QUANTIZE,
    "kernels": KERNELS,
    "program": (*QUANTIZE, *KERNELS, *LOWER),
    "circuit": (*QUANTIZE, *KERNELS, *LOWER, *CIRCUIT),
}
"""`network` cuts kernels out of a file's operators. From calibrated float layers, the others lead
to integers, from those to kernels, to array programs, to the circuit."""
