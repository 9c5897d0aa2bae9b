# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Uses of the product: MiniLM, benchmarks, profiles, the demo. Only command lines import them."""
