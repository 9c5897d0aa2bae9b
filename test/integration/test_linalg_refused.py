# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What of linalg is not supported is named, with its place in the text."""

from pathlib import Path

import numpy as np
import pytest
from linalg_text import function, generic, resources

from daqkf.compiler.formats import load_network
from daqkf.support.errors import DaqkfError

SIX = np.arange(6, dtype=np.float32)


def one_op(op: str, result: str = "tensor<2x3xf32>") -> str:
    return function("%x: tensor<2x3xf32>", result, f"%y = {op}\nreturn %y : {result}")


CONV = (
    "linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : "
    "tensor<2xi64>} ins(%x, %w : tensor<1x1x3x3xf32>, tensor<1x1x2x2xf32>) "
    "outs(%e : tensor<1x1x2x2xf32>) -> tensor<1x1x2x2xf32>"
)
IDENTITY = "affine_map<(d0, d1) -> (d0, d1)>"
REFUSED = {
    "unknown": (one_op("linalg.dot ins(%x)"), ":2:17: Operation linalg.dot is not registered"),
    "tensor": (
        one_op(
            "tensor.pad %x low[0, 0] high[0, 0] {\n^bb0(%i: index, %j: index):\n"
            "%c = arith.constant 0.0 : f32\ntensor.yield %c : f32\n} "
            ": tensor<2x3xf32> to tensor<2x3xf32>"
        ),
        ":2:1: tensor.pad: operation not supported",
    ),
    "map": (
        function(
            "%x: tensor<1x1x3x3xf32>, %w: tensor<1x1x2x2xf32>, %e: tensor<1x1x2x2xf32>",
            "tensor<1x1x2x2xf32>",
            f"%y = {CONV}\nreturn %y : tensor<1x1x2x2xf32>",
        ),
        ":2:1: linalg.conv_2d_nchw_fchw: the indexing map (d0, d1, d2, d3, d4, d5, d6) -> (d0, d4, "
        "(d2 + d5), (d3 + d6)) is not supported",
    ),
    "body": (
        one_op(
            generic(
                f"{IDENTITY}, {IDENTITY}",
                "pp",
                "ins(%x : tensor<2x3xf32>) outs(%x : tensor<2x3xf32>)",
                "^bb0(%a: f32, %o: f32):\n%s = math.sin %a : f32\nlinalg.yield %s : f32",
            )
            + " -> tensor<2x3xf32>"
        ),
        ":2:1: linalg.generic: math.sin in a body is not supported",
    ),
    "reduction": (
        one_op(
            generic(
                f"{IDENTITY}, affine_map<(d0, d1) -> (d0)>",
                "pr",
                "ins(%x : tensor<2x3xf32>) outs(%f : tensor<2xf32>)",
                "^bb0(%a: f32, %o: f32):\n%s = arith.subf %a, %o : f32\nlinalg.yield %s : f32",
            )
            + " -> tensor<2xf32>",
            "tensor<2xf32>",
        ).replace("{\n", "{\n%f = arith.constant dense<0.0> : tensor<2xf32>\n", 1),
        ":3:1: linalg.generic: a reduction by this body is not supported",
    ),
    "memory": (
        one_op("tensor.empty() : tensor<2x3xf32>").replace(
            "{\n",
            "{\n%m = memref.alloc() : memref<2xf32>\n%c = arith.constant 0.0 : f32\n"
            "linalg.fill ins(%c : f32) outs(%m : memref<2xf32>)\n",
            1,
        ),
        ":4:1: linalg.fill: works on no tensors, or has no outputs; only tensors are supported",
    ),
    "operands": (
        one_op("linalg.fill -> tensor<2x3xf32>"),
        ":2:1: linalg.fill: an operation that lacks operands",
    ),
    "verifier": (
        one_op(
            "linalg.matmul ins(%x, %x : tensor<2x3xf32>, tensor<2x3xf32>) "
            "outs(%x : tensor<2x3xf32>) -> tensor<2x3xf32>"
        ),
        ":2:1: linalg.matmul: inferred input/output operand #1 has shape's dimension #0 to be 3",
    ),
    "uninitialised": (
        one_op(
            "linalg.add ins(%x, %e : tensor<2x3xf32>, tensor<2x3xf32>) "
            "outs(%e : tensor<2x3xf32>) -> tensor<2x3xf32>"
        ).replace("{\n", "{\n%e = tensor.empty() : tensor<2x3xf32>\n", 1),
        ":3:1: linalg.add: reads the elements of tensor.empty, which has none",
    ),
    "elided": (
        one_op("arith.constant dense_resource<__elided__> : tensor<2x3xf32>"),
        ":2:1: arith.constant: its elements are not in the text, which has no resource "
        "'__elided__'",
    ),
    "short": (
        one_op("arith.constant dense_resource<w.1> : tensor<2x3xf32>") + resources("w.1", SIX[:3]),
        ":2:1: arith.constant: cannot reshape array of size 3 into shape (2,3)",
    ),
    "no blob": (
        one_op("arith.constant dense_resource<w.1> : tensor<2x3xf32>")
        + resources("w.1", SIX).replace("0x04", "0xy4"),
        ":2:1: arith.constant: resource 'w.1': non-hexadecimal number found in fromhex()",
    ),
    "half": (
        "func.func @f(%x: tensor<2xf16>) -> tensor<2xf16> {\n"
        "%e = tensor.empty() : tensor<2xf16>\nreturn %x : tensor<2xf16>\n}",
        ":1:1: func.func: elements of f16 are not supported",
    ),
    "scalar": (
        "func.func @f(%x: f32) -> f32 {\n%e = tensor.empty() : tensor<2xf32>\nreturn %x : f32\n}",
        ":1:1: func.func: an argument is of f32, no tensor",
    ),
    "several": (
        one_op("tensor.empty() : tensor<2x3xf32>")
        + one_op("tensor.empty() : tensor<2x3xf32>").replace("@forward", "@other"),
        ": expected one func.func in the module, not 2",
    ),
    "call": (
        "func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {\n"
        "%e = tensor.empty() : tensor<2xf32>\n"
        "%y = func.call @f(%x) : (tensor<2xf32>) -> tensor<2xf32>\nreturn %y : tensor<2xf32>\n}\n"
        "func.func private @f(%x: tensor<2xf32>) -> tensor<2xf32> {\nreturn %x : tensor<2xf32>\n}",
        ":3:1: func.call: operation not supported",
    ),
    "maps": (
        one_op('linalg.generic {iterator_types = ["parallel"]}'),
        ":2:21: linalg.generic has indexing_maps and iterator_types",
    ),
    "iterators": (
        one_op(
            f'linalg.generic {{indexing_maps = [{IDENTITY}], iterator_types = ["sideways"]}} '
            "outs(%x : tensor<2x3xf32>) {\n^bb0(%o: f32):\nlinalg.yield %o : f32\n}"
            " -> tensor<2x3xf32>"
        ),
        ':2:21: linalg.generic: unknown iterator type "sideways"',
    ),
    "hex": (
        one_op('arith.constant dense<"0x0000803F0000803F"> : tensor<2x3xf32>'),
        ":3:1: arith.constant: Shape mismatch in dense literal.",
    ),
    "half a file": (one_op("tensor.empty() : tensor<2x3xf32>")[:60], ":1:61: "),
    "text": ("weights, and more", ":1:8: Operation weights is not registered"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_named_with_its_place(tmp_path: Path, name: str):
    text, message = REFUSED[name]
    path = tmp_path / "network.mlir"
    path.write_text(text)
    with pytest.raises(DaqkfError) as caught:
        load_network(path)
    found = str(caught.value)
    assert "\n" not in found
    assert found.startswith(f"{path}{message}")
