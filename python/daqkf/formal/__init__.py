# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""This package proves that the circuits of all families of elements compute dot products.

yosys reads the SystemVerilog of a family's circuit and writes it as a transition system
(`btor2`), which is unrolled cycle by cycle over bit vectors (`bits`). The specification of the
family (`specs`) says how a word changes the state of an element. The theorems (`theorems`) say
that the circuit does so, and Bitwuzla decides them (`claims`). `mutations` plants bugs, to show
that the proofs find them.
"""
