# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Arrays in the files that command lines name."""

from typing import Any

import numpy as np

from daqkf.support.errors import DaqkfError


def load_array(path: str, what: str) -> np.ndarray:
    """An array from a .npy file.

    Raises:
        DaqkfError: it is no such file.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DaqkfError(f"{path}: cannot be read as {what} in .npy format: {error}") from None
    if not isinstance(array, np.ndarray):
        raise DaqkfError(f"{path}: {what} must be one array in .npy format")
    return array


def load_weights(path: str) -> Any:
    """Weights [K, N] from a .npy file, or a SciPy sparse matrix from a .npz file.

    Raises:
        DaqkfError: it is no such file.
    """
    if not path.endswith(".npz"):
        return load_array(path, "weights")
    from scipy import sparse

    try:
        return sparse.load_npz(path)
    except (ValueError, KeyError) as error:
        raise DaqkfError(f"{path}: cannot be read as a SciPy sparse matrix: {error}") from None
