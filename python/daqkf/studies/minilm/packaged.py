# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Weight matrices of trained models that come inside PyPI packages, to profile.

- PP-OCRv6's text recogniser (a convolutional net with two transformer blocks) and detector, in
  ONNX, of the package `rapidocr` (Apache-2.0).
- Silero VAD (convolutions and an LSTM), in safetensors, of the package `silero-vad` (MIT).
- Magika (a small network that tells kinds of files), in ONNX, of the package `magika` (Apache-2.0).

The packages are not imported: only their files are read.
"""

import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.errors import from_extra
from daqkf.studies.minilm.model import ModelFileError, ModelNotFoundError

type Matrices = Iterator[tuple[str, NDArray[np.float32]]]
"""Names and weights [K, N], float32."""

INSTALL_COMMAND = (
    "pip install 'daqkf[onnx]' && "
    "pip install --no-deps rapidocr==3.10.0 silero-vad==6.2.3 magika==1.0.3"
)

_OCR = "rapidocr"
_VAD = "silero_vad"


def ocr_recogniser() -> Matrices:
    """The matrices of PP-OCRv6's text recogniser.

    Raises:
        ModelNotFoundError: the package is not installed.
        DaqkfError: `onnx` is not installed.
        ModelFileError: the file is damaged.
    """
    return read_onnx(_file(_OCR, "models/PP-OCRv6_rec_small.onnx"))


def ocr_detector() -> Matrices:
    """The matrices of PP-OCRv6's text detector; raises as `ocr_recogniser` does."""
    return read_onnx(_file(_OCR, "models/PP-OCRv6_det_small.onnx"))


def voice_detector() -> Matrices:
    """The trained matrices of Silero VAD at 16 kHz; raises as `ocr_recogniser` does."""
    for name, weights in read_safetensors(_file(_VAD, "data/silero_vad_16k.safetensors")):
        if name != "stft_conv.weight":  # a Fourier transform, which nothing was trained for
            yield name, weights


def file_classifier() -> Matrices:
    """The matrices of Magika; raises as `ocr_recogniser` does."""
    return read_onnx(_file("magika", "models/standard_v3_3/model.onnx"))


def read_onnx(path: Path) -> Matrices:
    """Constant weights of an ONNX graph's MatMul, Gemm and ungrouped Conv nodes, as [K, N].

    A convolution's kernel [N, C, …] is the matrix [C·…, N] of its im2col form.

    Raises:
        DaqkfError: `onnx` is not installed.
        ModelFileError: no ONNX file.
    """
    with from_extra("onnx"):
        onnx = cast(Any, importlib.import_module("onnx"))
    try:
        graph = onnx.load(path).graph
    except Exception as error:  # protobuf's own, without a common base
        raise ModelFileError(f"{path}: not readable as ONNX ({error})") from error
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    for node in graph.node:
        if node.op_type not in ("MatMul", "Gemm", "Conv") or node.input[1] not in constants:
            continue
        attributes = {entry.name: entry for entry in node.attribute}
        array = onnx.numpy_helper.to_array(constants[node.input[1]])
        if node.op_type == "Conv":
            if "group" in attributes and attributes["group"].i != 1:
                continue
            array = array.reshape(len(array), -1).T
        elif "transB" in attributes and attributes["transB"].i:
            array = array.T
        if array.ndim == 2:
            yield node.input[1], np.ascontiguousarray(array, np.float32)


def read_safetensors(path: Path) -> Matrices:
    """Every tensor [N, …] of two or more dimensions in a safetensors file, as [K, N].

    Raises:
        ModelFileError: no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with cast(Any, safe_open)(path, framework="numpy") as tensors:
            for name in sorted(tensors.keys()):
                array = tensors.get_tensor(name)
                if array.ndim >= 2:
                    matrix = array.reshape(len(array), -1).T
                    yield name, np.ascontiguousarray(matrix, np.float32)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path}: not readable as safetensors ({error})") from error


def _file(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    locations = None if spec is None else spec.submodule_search_locations
    path = Path(locations[0]) / name if locations else None
    if path is None or not path.is_file():
        raise ModelNotFoundError(
            f"a model to profile ({name} of package {package}) is not installed; "
            f"run: {INSTALL_COMMAND}"
        )
    return path
