# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Packages for the tools of others: what `daqkf_system` is to Vivado, Quartus and FuseSoC."""
