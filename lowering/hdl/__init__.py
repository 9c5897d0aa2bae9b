# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Circuits as `hw`, `comb`, `seq` and `sv` operations, built in Python, and their SystemVerilog.

A circuit is a `Circuit` of `circuit.py`: it has ports, registers, wires and instances, and its
sections become the commented blocks of the SystemVerilog. `signal.py` has the `Signal`s that logic
is written with, `naming.py` finds names for those that nobody named, and `memory.py` has the
memories, in a form that synthesis takes for block RAM.

What circuits often need is built on these: `fsm.py` has enumerations and state machines whose
states have names, `bundle.py` groups ports with a common prefix, `select.py` chooses among signals
and takes fields out of packed rows, `pipeline.py` delays a signal by several cycles, `counters.py`
is a module of performance counters, and `crc32.py` computes a checksum word by word.

`verilog.py` has CIRCT write the SystemVerilog, in a child process, and adds the headers of files.
Nothing in here knows what the array is.
"""
