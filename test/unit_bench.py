# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A unit of the array alone in Verilator, driven cycle by cycle from Python."""

import subprocess
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from daqkf.lowering.hdl.circuit import Circuit, circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.runtime.simulator import verilate

HARNESS = """
#include "{model}.h"
#include <cstdio>
int main() {{
  {model} unit;
  unit.clk = 0;
  unsigned long long clock, value;
  while (std::scanf("%llx", &clock) == 1) {{
{reads}
    unit.eval();
    std::printf("{form}\\n"{writes});
    std::fflush(stdout);
    if (clock) {{ unit.clk = 1; unit.eval(); unit.clk = 0; unit.eval(); }}
  }}
}}
"""


class Bench:
    """A circuit with a clock `clk`, a reset `rst`, and ports of at most 64 bits.

    Inputs stay as they are until they are given again; the reset pulses once at the beginning.
    """

    def __init__(self, circuit: Circuit):
        ports = circuit.finished().module_type.ports.data
        names = {port.port_name.data: port.dir.data.is_input_like() for port in ports}
        self.inputs = {name: 0 for name, read in names.items() if read and name != "clk"}
        self.outputs = [name for name, read in names.items() if not read]
        read = '    std::scanf("%llx", &value); unit.{0} = value;'
        harness = HARNESS.format(
            model=f"V{circuit.name}",
            reads="\n".join(read.format(name) for name in self.inputs),
            form=" ".join(["%llx"] * len(self.outputs)),
            writes="".join(f", (unsigned long long)unit.{name}" for name in self.outputs),
        )
        sources = {"harness.cpp": harness, **emit_verilog(circuit_module(circuit))}
        self._process = subprocess.Popen(
            [verilate(sources, circuit.name)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.step(rst=1)
        self.inputs["rst"] = 0

    def peek(self, **inputs: int) -> Mapping[str, int]:
        """The outputs with these inputs, before the clock's edge."""
        return self._run(0, inputs)

    def step(self, **inputs: int) -> Mapping[str, int]:
        """The same, and then the edge."""
        return self._run(1, inputs)

    def _run(self, clock: int, inputs: Mapping[str, int]) -> Mapping[str, int]:
        assert inputs.keys() <= self.inputs.keys(), inputs.keys() - self.inputs.keys()
        self.inputs |= inputs
        pipe = self._process
        assert pipe.stdin is not None and pipe.stdout is not None
        pipe.stdin.write(" ".join(f"{value:x}" for value in (clock, *self.inputs.values())) + "\n")
        pipe.stdin.flush()
        values = (int(word, 16) for word in pipe.stdout.readline().split())
        return dict(zip(self.outputs, values, strict=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()
