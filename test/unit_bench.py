# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A unit of the array alone in Verilator, driven cycle by cycle from Python."""

import subprocess
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from xdsl.dialects.builtin import IntegerType

from daqkf.lowering.hdl.circuit import Circuit, circuit_module
from daqkf.lowering.hdl.verilog import emit_verilog
from daqkf.runtime.simulator import verilate

HARNESS = """
#include "{model}.h"
#include <cstdio>
#include <cstdlib>
int main(int, char **arguments) {{
  // Registers without a reset begin with anything.
  Verilated::randReset(2);
  Verilated::randSeed(std::atoi(arguments[1]));
  {model} unit;
  unit.{clock} = 0;
  unsigned long long clock, value;
  while (std::scanf("%llx", &clock) == 1) {{
{reads}
    unit.eval();
    std::printf("{form}\\n"{writes});
    std::fflush(stdout);
    if (clock) {{ unit.{clock} = 1; unit.eval(); unit.{clock} = 0; unit.eval(); }}
  }}
}}
"""


_WORD, _LONG = 32, 64
"""Verilator has ports of more bits than the second in words of the first."""


def _words(name: str, width: int) -> list[str]:
    """A port's parts in C++, the lowest first."""
    if width <= _LONG:
        return [f"unit.{name}"]
    return [f"unit.{name}[{word}]" for word in range(-(-width // _WORD))]


class Bench:
    """A circuit with a clock `clk` and, if it has registers with a reset, a reset `rst`.

    Inputs stay as they are until they are given again; the reset pulses once at the beginning.
    Registers that the reset leaves alone begin with random values, which `seed` chooses. The clock
    may have another name.
    """

    def __init__(self, circuit: Circuit, seed: int = 1, clock: str = "clk"):
        ports = [
            (port.port_name.data, port.dir.data.is_input_like(), port.type)
            for port in circuit.finished().module_type.ports.data
        ]
        widths = {name: kind.width.data for name, _, kind in ports if isinstance(kind, IntegerType)}
        self.inputs = {name: 0 for name, read, _ in ports if read and name in widths}
        self.outputs = [name for name, read, _ in ports if not read]
        # The parts of a port go through the pipe one by one.
        self._parts = {name: _words(name, width) for name, width in widths.items()}
        read = [part for name in self.inputs for part in self._parts[name]]
        written = [part for name in self.outputs for part in self._parts[name]]
        harness = HARNESS.format(
            model=f"V{circuit.name}",
            clock=clock,
            reads="\n".join(f'    std::scanf("%llx", &value); {part} = value;' for part in read),
            form=" ".join(["%llx"] * len(written)),
            writes="".join(f", (unsigned long long){part}" for part in written),
        )
        sources = {"harness.cpp": harness, **emit_verilog(circuit_module(circuit))}
        self._binary = verilate(sources, circuit.name)
        self._process: subprocess.Popen[str] | None = None
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Begin again, with other values in the registers."""
        if self._process is not None:
            self._process.communicate()
        self._process = subprocess.Popen(
            [self._binary, str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.inputs = dict.fromkeys(self.inputs, 0)
        if "rst" in self.inputs:
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
        assert pipe is not None and pipe.stdin is not None and pipe.stdout is not None
        sent = [clock, *(part for name in self.inputs for part in self._split(name))]
        pipe.stdin.write(" ".join(f"{value:x}" for value in sent) + "\n")
        pipe.stdin.flush()
        words = iter([int(word, 16) for word in pipe.stdout.readline().split()])
        return {
            name: sum(next(words) << _WORD * n for n in range(len(self._parts[name])))
            for name in self.outputs
        }

    def _split(self, name: str) -> list[int]:
        """An input's value, in the parts of its port."""
        value, parts = self.inputs[name], len(self._parts[name])
        if parts == 1:
            return [value]
        return [value >> _WORD * n & ((1 << _WORD) - 1) for n in range(parts)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.communicate()
