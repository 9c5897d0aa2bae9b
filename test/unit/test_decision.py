# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Counting a tile's zeros and looking the count up."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from daqkf.dialects.interpreting import run
from daqkf.hw_targets.decision import Decision
from daqkf.support.ir import make_context, parse_module

ACTIVATIONS = st.tuples(st.integers(1, 20), st.integers(1, 6)).flatmap(
    lambda shape: arrays(np.int8, shape, elements=st.sampled_from([0, 0, 0, 1, -1, -128]))
)
DECISIONS = st.builds(
    Decision,
    lanes=st.integers(1, 7),
    shift=st.integers(0, 6),
    table=st.integers(1, 4).flatmap(
        lambda bits: st.tuples(*[st.integers(0, 2)] * (1 << bits)).map(tuple)
    ),
)


@given(ACTIVATIONS, DECISIONS)
def test_every_tile_takes_the_variant_of_its_zeros(x: NDArray[np.int8], decision: Decision):
    variants = decision.variants(x)
    assert len(variants) == -(-len(x) // decision.lanes)
    for tile, variant in enumerate(variants):
        # As the hardware sees it: a whole tile, the missing tokens being zeros.
        whole = np.zeros((decision.lanes, x.shape[1]), np.int8)
        tokens = x[tile * decision.lanes : (tile + 1) * decision.lanes]
        whole[: len(tokens)] = tokens
        zeros = sum(1 for value in whole.flat if value == 0)
        bucket = min(zeros // 2**decision.shift, len(decision.table) - 1)
        assert variant == decision.table[bucket]


@given(ACTIVATIONS, DECISIONS)
def test_each_token_gets_the_result_of_its_tile(x: NDArray[np.int8], decision: Decision):
    results = tuple(np.full((len(x), 2), variant, np.int8) for variant in range(3))
    selected = decision.select(x, results)
    assert np.array_equal(selected[:, 0], decision.variants(x)[np.arange(len(x)) // decision.lanes])


def test_a_dispatch_is_run_tile_by_tile():
    def kernel(name: str, weight: int) -> str:
        return f"""
        %{name} = dfke.kernel(%i = %k) : tensor<?x2xi8> -> tensor<?x1xi8> {{
          %w = spaq.constant dense<{weight}> : tensor<2x1xi8>
          %0 = spaq.matmul %i, %w : (tensor<?x2xi8>, tensor<2x1xi8>) -> tensor<?x1xi32>
          %1 = spaq.requantize %0 multiplier dense<2> : tensor<1xi32>
            shift dense<1> : tensor<1xi32> : tensor<?x1xi32> -> tensor<?x1xi8>
          dfke.yield %1 : tensor<?x1xi8>
        }}"""

    module = parse_module(
        make_context(),
        f"""
        func.func @f(%x: tensor<?x2xi8>) -> tensor<?x1xi8> {{
          %y = dfke.dispatch(%k = %x) #dfke.decision<lanes = 2, shift = 1, table = [1, 0]>
              : tensor<?x2xi8> -> tensor<?x1xi8> {{{kernel("a", 1)}{kernel("b", 10)}
            dfke.yield %a, %b : tensor<?x1xi8>, tensor<?x1xi8>
          }}
          func.return %y : tensor<?x1xi8>
        }}""",
        "test",
    )
    # One zero, two zeros, and one token whose missing partner counts two.
    x = np.array([[1, 2], [0, 3], [0, 0], [1, 1], [1, 1]], np.int8)
    assert run(module, x)[:, 0].tolist() == [30, 30, 0, 2, 2]
