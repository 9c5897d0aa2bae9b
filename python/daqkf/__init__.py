# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""DAQKF: pruned neural networks → verified SystemVerilog of a sparse, quantised engine.

import daqkf
design = daqkf.compile(weights, bias=bias, activation="gelu", sparsity=0.7)
y = design.simulate(x)
design.save("build/layer")

network = daqkf.compile("model.onnx", calibration=inputs)
outputs = network.run(inputs, accelerator="rtl")
"""

TYPE_CHECKING = False
"""What `typing` has, whose import takes longer than this module's."""

__version__ = "0.1.0"

__all__ = [
    "AssocArray",
    "CompiledNetwork",
    "DaqkfError",
    "Design",
    "Exploration",
    "LevelSet",
    "board",
    "compile",
    "explore",
    "load",
]

if TYPE_CHECKING:
    from daqkf.api import compile  # noqa: A004
    from daqkf.assoc.array import AssocArray
    from daqkf.compiler.compiled_network import CompiledNetwork
    from daqkf.compiler.design import Design
    from daqkf.compiler.saved import load
    from daqkf.dialects.spaq import LevelSet
    from daqkf.drivers.names import board
    from daqkf.exploring import Exploration, explore
    from daqkf.support.errors import DaqkfError

_HOMES = {
    "AssocArray": "daqkf.assoc.array",
    "CompiledNetwork": "daqkf.compiler.compiled_network",
    "DaqkfError": "daqkf.support.errors",
    "Design": "daqkf.compiler.design",
    "Exploration": "daqkf.exploring",
    "LevelSet": "daqkf.dialects.spaq",
    "board": "daqkf.drivers.names",
    "compile": "daqkf.api",
    "explore": "daqkf.exploring",
    "load": "daqkf.compiler.saved",
}


def __dir__() -> list[str]:
    """The public names, whether they were used or not."""
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING"})


def __getattr__(name: str) -> object:
    """Import the public names only when they are used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'daqkf' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
