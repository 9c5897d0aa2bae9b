# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Proofs that the circuits of the families of processing elements yield dot products.

The circuit, as SystemVerilog that yosys reads, is unrolled as a transition system (`btor2`)
over bit vectors (`bits`); a family's specification (`specs`) says what a word has to do, the
theorems (`theorems`) follow from it, and Bitwuzla decides them (`claims`). `mutations` plants
bugs to see that they are found.
"""
