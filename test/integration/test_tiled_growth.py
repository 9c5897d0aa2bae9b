# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Kernels that are cut into many programs: what they take grows with their number alone."""

from pathlib import Path
from typing import Any

import pytest
from xdsl.traits import SymbolTable

import daqkf
from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.dialects.diagnostics import verify
from daqkf.dialects.rpea import ProgramOp, TiledOp


def compiled(folder: Path, outputs: int) -> CompiledNetwork:
    header = "%%MatrixMarket matrix coordinate real general\n"
    (folder / "m.mtx").write_text(f"{header}4 {outputs} 2\n1 1 1.0\n2 2 0.5\n")
    network = daqkf.compile(folder / "m.mtx", target="tiny")
    assert isinstance(network, CompiledNetwork)
    return network


@pytest.mark.slow
def test_programs_are_found_once_and_not_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    searched: list[int] = []
    lookup = SymbolTable.lookup_symbol

    def counted(op: Any, name: Any) -> Any:
        searched.append(1)
        return lookup(op, name)

    for outputs in (512, 4096):
        network = compiled(tmp_path, outputs)
        programs = sum(isinstance(op, ProgramOp) for op in network.arrays.ops)
        (tiled,) = (op for op in network.arrays.ops if isinstance(op, TiledOp))
        assert programs == len(tiled.programs) == outputs // 32
        assert tiled.channels == outputs
        assert tiled.features.value.data == 4
        searched.clear()
        with monkeypatch.context() as patch:
            patch.setattr(SymbolTable, "lookup_symbol", staticmethod(counted))
            verify(network.arrays)
        # Each program looks for its array, which comes first; what runs them looks for the kernel.
        assert len(searched) < 4 * programs + 20
