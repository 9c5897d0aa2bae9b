# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""MiniLM's weights as matrices for a report."""

from daqkf.reports.model import Matrix
from daqkf.studies.minilm.model import MiniLM


def encoder_matrices() -> list[Matrix]:
    """The weights [K, N] of all linear layers of MiniLM's encoder.

    Raises:
        ModelNotFoundError, ModelFileError: the model is not installed, or damaged.
    """
    model = MiniLM.load()
    return [Matrix(name, model.linear(name)[0]) for name in model.linear_names]
