# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Studies that use the product: MiniLM, benchmarks, profiles and the demo.

Only command lines import them.
"""
