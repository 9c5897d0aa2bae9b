# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations that run as one, against the same IR operation by operation."""

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.exceptions import InterpretationError

from daqkf.dialects.interpreting import Lifetimes, call, only_function
from daqkf.dialects.spaq.ops import MatmulOp, RequantizeOp
from daqkf.dialects.spaq.prepared import Prepared
from daqkf.dialects.spaq.rows import GatherOp
from daqkf.support.ir import make_context, parse_module

FACTORS = (
    "multiplier dense<[40000, 32768, 51111]> : tensor<3xi32> "
    "shift dense<[20, 18, 21]> : tensor<3xi32>"
)
WEIGHTS = """
    %w = spaq.constant dense<[[3, -7, 1], [0, 2, -5], [6, 1, 0], [-2, 4, 7]]> : tensor<4x3xi8>
    %b = spaq.constant dense<[100, -20, 7]> : tensor<3xi32>
"""
SUMS = """
    %s = spaq.matmul %g, %w : (tensor<?x4xi8>, tensor<4x3xi8>) -> tensor<?x3xi32>
    %t = spaq.add %s, %b : (tensor<?x3xi32>, tensor<3xi32>) -> tensor<?x3xi32>
"""
GATHER = """
    %g = spaq.gather %x columns dense<[0, 1, 2, 2]> : tensor<4xi32>
      : tensor<?x3xi8> -> tensor<?x4xi8>
"""
RESIDUAL = """
    %r = spaq.residual %t, %x multiplier dense<[900, 0, 65535]> : tensor<3xi32>
      : (tensor<?x3xi32>, tensor<?x3xi8>) -> tensor<?x3xi32>
"""
NORMALIZE = """
    %z = spaq.normalize %q exponent dense<[0, 3, 1]> : tensor<3xi32>
      : tensor<?x3xi8> -> tensor<?x3xi18>
    %m = spaq.add %z, %b : (tensor<?x3xi18>, tensor<3xi32>) -> tensor<?x3xi32>
"""


def requantize(result: str, sums: str) -> str:
    return f"{result} = spaq.requantize {sums} {FACTORS} : tensor<?x3xi32> -> tensor<?x3xi8>\n"


def module(body: str, result: str, kind: str = "tensor<?x3xi8>") -> ModuleOp:
    text = f"""func.func @f(%x: tensor<?x3xi8>) -> {kind} {{
      {body}
      func.return {result} : {kind}
    }}"""
    return parse_module(make_context(), text, "test")


def both(ir: ModuleOp, prepared: Prepared) -> None:
    """Check that results are equal, at the second run, too."""
    x = np.random.default_rng(0).integers(-128, 128, (50, 3)).astype(np.int8)
    (wanted,) = call(ir, only_function(ir), (x,))
    for _ in range(2):
        (found,) = call(ir, only_function(ir), (x,), prepared=prepared, lifetimes=Lifetimes())
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


def test_a_kernel_runs_as_one():
    body = WEIGHTS + GATHER + SUMS + RESIDUAL + requantize("%q", "%r") + NORMALIZE
    ir = module(body + requantize("%y", "%m"), "%y")
    prepared = Prepared(fuses=True)
    both(ir, prepared)
    requantizations = [op for op in ir.walk() if isinstance(op, RequantizeOp)]
    assert len(requantizations) == 2
    assert all(prepared.fused(op) for op in requantizations)
    assert all(prepared.deferred(op) for op in ir.walk() if isinstance(op, GatherOp | MatmulOp))


def test_sums_that_are_read_twice_are_computed():
    again = requantize("%p", "%t")
    ir = module(WEIGHTS + GATHER + SUMS + requantize("%q", "%t") + again, "%q")
    prepared = Prepared(fuses=True)
    both(ir, prepared)
    assert not any(prepared.deferred(op) for op in ir.walk() if isinstance(op, GatherOp | MatmulOp))


def test_sums_that_might_not_fit_are_computed():
    narrow = SUMS.replace("-> tensor<?x3xi32>\n    %t", "-> tensor<?x3xi11>\n    %t")
    narrow = narrow.replace(
        "%t = spaq.add %s, %b : (tensor<?x3xi32>", "%t = spaq.add %s, %b : (tensor<?x3xi11>"
    )
    ir = module(WEIGHTS + GATHER + narrow + requantize("%q", "%t"), "%q")
    prepared = Prepared(fuses=True)
    assert not any(prepared.fused(op) for op in ir.walk() if isinstance(op, RequantizeOp))
    with pytest.raises(InterpretationError, match="a sum needs 12 bits"):
        call(ir, only_function(ir), (np.array([[-128, 127, 127]], np.int8),), prepared=prepared)


def test_a_gather_that_is_read_elsewhere_stays():
    ir = module(WEIGHTS + GATHER + SUMS + requantize("%q", "%t"), "%g", "tensor<?x4xi8>")
    prepared = Prepared(fuses=True)
    both(ir, prepared)
    assert not any(prepared.deferred(op) for op in ir.walk() if isinstance(op, GatherOp))


def test_nothing_is_fused_unless_it_is_asked_for():
    ir = module(WEIGHTS + GATHER + SUMS + requantize("%q", "%t"), "%q")
    prepared = Prepared()
    both(ir, prepared)
    assert not any(prepared.fused(op) for op in ir.walk() if isinstance(op, RequantizeOp))
