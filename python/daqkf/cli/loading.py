# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Arrays in the files that command lines name."""

from typing import Any

from numpy.typing import NDArray

from daqkf.passes import array_files
from daqkf.support.errors import DaqkfError


def load_array(path: str, what: str) -> NDArray[Any]:
    """An array from a .npy file.

    Raises:
        DaqkfError: it is no such file.
    """
    try:
        return array_files.load_array(path, f"{what} in .npy format")
    except ValueError as error:
        raise DaqkfError(str(error)) from None


def load_weights(path: str) -> Any:
    """Weights [K, N] from a .npy file, or a SciPy sparse matrix from a .npz file.

    Raises:
        DaqkfError: it is no such file.
    """
    if not path.endswith(".npz"):
        return load_array(path, "weights")
    from daqkf.lowering.frontends.matrices import load_sparse

    try:
        return load_sparse(path)
    except ValueError as error:
        raise DaqkfError(str(error)) from None
