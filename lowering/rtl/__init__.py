# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The circuits of the array, from a lane of an element up to the system with its AXI ports.

**The array.** `array.py` builds `daqkf_array`. What its parts share is in `frame.py`: the phase,
and the events of tiles and kernels. `programs.py` says when a program may replace another one,
`arrival.py` counts the rows of activations and writes them to the elements, `results.py` has the
result memory and the stream by which results leave, `result_lanes.py` builds a group of lanes' part
of both for arrays of many lanes, `sequence.py` follows the sequences of attention, and `placing.py`
makes an instance of each unit with what its ports need.

**Elements.** `element.py` builds a processing element that walks through its own stream of words,
`lockstep.py` elements that share one control. `indices.py` turns the indices of words into
addresses. `families/` has the arithmetic of each family of elements. `operands.py` gates words by
the bits of an operand memory, and builds `daqkf_fill`, which fills these memories.

**The post unit.** `post.py` builds `daqkf_post`, which makes int8 results of sums. `post_entry.py`
takes the sums from the elements in turn, `requantize.py` multiplies, shifts and rounds,
`partial.py` keeps sums for a later program, and `residual.py` adds activations that were kept.
`booth.py` has the multipliers of this unit and of the next.

**The row unit.** `rows.py` builds the unit that normalises results, gates them and computes
softmaxes, with the arithmetic of a lane in `row_lane.py` and the division and the root in
`row_solver.py`. `row_gates.py` builds the smaller unit of an array that only gates.

**Control.** `loader.py` builds `daqkf_loader`, which follows a program image: `image_words.py` says
what each word means, and `image_rows.py` gathers words into rows and writes these to the memories.
`chain.py` builds `daqkf_chain`, which leads from one kernel to the next, and `spaq_unit.py` builds
`daqkf_spaq`, which picks a variant of a program by the zeros of a tile.

**The system.** `system.py` builds `daqkf_system`: the array with AXI ports, registers, counters and
an interrupt. `registers.py` defines the registers, `register_file.py` builds the AXI4-Lite slave
that has them, and `register_map.py` writes them down for drivers in C and Python, and for readers.
"""
