# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Real networks in floating point: the references that compiled kernels are measured against.

Each model is a module of its own and is imported by name, so that `import daqkf` loads no weights,
tokenisers or SciPy.
"""
