# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The page of ONNX's operators: which become kernels, which are fused, which the host runs.

    python docs/operators.py     # writes docs/operators.md

The tests hold that what is there is what this makes.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from onnx import defs

from daqkf.lowering.frontends.onnx.graph import PRODUCTS
from daqkf.lowering.frontends.onnx.operators import FUSED, OPERATORS

PAGE = Path(__file__).parent / "operators.md"

TEXT = """\
# Operators of ONNX

<!-- Made by docs/operators.py from the code. -->

Every operator of ONNX's opset {version} runs, but for `Gradient` (ai.onnx.preview.training),
which nobody implements. What an array can do of a network are its products with constant weights;
around them, `nn` has operations of its own, which passes know and can fuse; everything else is
one operation, `nn.operator`, which carries the node as it is in the file.

- **kernel**: a product. With constant weights of float32 it runs on the array, and its bias and
  its function with it. Products of two activations run there, too, with `products`.
- **fused**: an operation of `nn` that kernels may take with them: functions behind a product,
  residual additions and gates, normalisation, attention, scales and zero points of quantised
  files.
- **nn**: an operation of `nn`, or several, which the host runs by NumPy. Of constants they are
  computed when the file is read.
- **host**: the node as it is, which onnxruntime runs (the extra `run`: `pip install 'daqkf[run]'`).
  ONNX's reference evaluator runs it where onnxruntime is not installed, does not have the
  operator, or departs from what ONNX defines.

An operator of the first three kinds is run like one of the fourth where `nn` does not have the
form that a file uses: other element types than float32, float64, bool and integers of 4 to 64
bits (uint32 and uint64 not), attributes of rare use, axes and bounds that are computed where `nn`
wants constants, opsets of other meaning. What is not on this page is taken from onnxruntime, if
it knows it: operators of `com.microsoft`, for instance. Functions that a model brings with it are
inlined. Files of an opset before 7 are converted by ONNX's version converter.

`daqkf compile` says what is on the host, and what of that onnxruntime runs;
`CompiledNetwork.operators()` does so in Python. Gradients do not pass such operators:
sensitivities of the kernels before them are found by finite differences.

## How this is tested

`make onnx-tests` runs ONNX's own tests of its operators, each from a file through the importer
and the passes of a compilation, and compares the outputs of the network in floating point with
ONNX's, within each test's own tolerances. It compares the networks before they are quantised, as
int8 is not within 0.1 %; what the array makes of kernels is compared elsewhere, bit for bit with
its integers. The last line says how many are right, wrong and refused; fewer than 97 % right, or
one that is wrong, is an error. Of operators that draw random numbers, types and shapes are
compared. int4 and uint4 are in int8 and uint8 arrays where `nn` computes them.

## The operators
"""


def kind(name: str) -> str:
    """What becomes of an operator."""
    if name not in OPERATORS:
        return "host"
    return "kernel" if name in PRODUCTS else "fused" if name in FUSED else "nn"


def _names() -> Iterator[tuple[str, str]]:
    """Domain and name of all operators, those that `nn` knows beside ONNX's among them."""
    own = {(schema.domain, schema.name) for schema in defs.get_all_schemas()}
    yield from own
    yield from (tuple[str, str](name.rsplit(".", 1)) for name in OPERATORS if "." in name)


def page() -> str:
    """The text of the page."""
    lines = [TEXT.format(version=defs.onnx_opset_version())]
    names = sorted(set(_names()))
    for domain in dict.fromkeys(domain for domain, _ in names):
        lines.append(f"\n### {domain or 'ai.onnx'}\n")
        found = [name for own, name in names if own == domain]
        kinds = {name: kind(f"{domain}.{name}" if domain else name) for name in found}
        for what in ("kernel", "fused", "nn", "host"):
            chosen = [f"`{name}`" for name in found if kinds[name] == what]
            if chosen:
                lines.append(f"- **{what}** ({len(chosen)}): {', '.join(chosen)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.exit()
