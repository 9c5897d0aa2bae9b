# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""How integer weights become streams of words, and what these cost.

One file for each family of processing elements has its `CODING`: `running_sum`, `ternary`,
`semiring`, `strassen`, `multiply` and `dense`. `coding` is the interface of these and finds that of
a family. `grouping` sorts items by level, `splitting` splits weights so that items fill words, and
`placing` gives items their places in words. `operands` makes the streams of attention, whose
factors are results.

`channels` shares out a kernel's output channels over the elements of a machine, `balance` is the
scheduling behind it. `cost_model` ranks families by cycles and area, and `index_coding` chooses how
many bits words have for their items' rows.
"""
