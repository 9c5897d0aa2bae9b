# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Language models from files, and how they are compiled and calibrated on text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler import network
from daqkf.compiler.accuracy import Measured
from daqkf.compiler.compiled_language_model import CompiledLanguageModel
from daqkf.compiler.file_suffixes import SUFFIXES, is_model_folder
from daqkf.compiler.options import NetworkOptions
from daqkf.compiler.text_windows import windows_of
from daqkf.hw_targets.target import load_target
from daqkf.lowering.frontends.decoder import (
    LOGITS,
    OUTPUT,
    POSITIONS,
    TOKENS,
    DecoderConfig,
    LanguageModel,
    cache_names,
)
from daqkf.lowering.frontends.text import TextCodec
from daqkf.passes.nn_product import Inputs
from daqkf.passes.progress import Progress, silent
from daqkf.passes.quantize.accuracy import NextToken
from daqkf.passes.steps import NOTHING_KEPT, Steps
from daqkf.support.errors import EXPECTED, DaqkfError, describe

TARGET = "wide-memory"
"""What language models are compiled for if nobody names a target: their streams fit in no block
RAM, and a result of int8 costs them more than all other rounding."""

LONGEST = 512
"""Tokens of a batch of calibration data, at most: what is read at once grows with its square."""


def is_language_model(source: str | Path) -> bool:
    """Whether a file or a folder is of a kind that has language models alone."""
    return SUFFIXES.get(Path(source).suffix) == "gguf" or is_model_folder(source)


def default_target(source: object) -> str:
    """The target that a source is compiled for if nobody names one."""
    is_language = isinstance(source, str | Path) and is_language_model(source)
    return TARGET if is_language else "generic"


def load_language_model(path: str | Path) -> LanguageModel:
    """The language model in a GGUF file, or in a folder of Hugging Face.

    Its network and its tokeniser are read when they are asked for.

    Raises:
        DaqkfError: neither of these, or one that cannot be read or has something unsupported.
    """
    from daqkf.lowering.frontends.gguf.module import open_gguf
    from daqkf.lowering.frontends.huggingface import open_folder

    path = Path(path)
    try:
        if is_model_folder(path):
            return open_folder(path)
        if SUFFIXES.get(path.suffix) == "gguf":
            return open_gguf(path)
    except DaqkfError:
        raise
    except EXPECTED as error:
        raise DaqkfError(describe(error)) from None
    raise DaqkfError(f"{path}: no language model: a .gguf file, or a folder with config.json")


def inputs_of(config: DecoderConfig, tokens: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The inputs of a decoder that has read nothing, for tokens [T], by name."""
    empty = np.zeros((0, config.groups, config.features), np.float32)
    return {
        TOKENS: tokens,
        POSITIONS: np.arange(len(tokens)),
        **dict.fromkeys(cache_names(config.layers, "past"), empty),
    }


def batches_of(
    config: DecoderConfig, codec: TextCodec, text: str, longest: int = LONGEST
) -> list[Inputs]:
    """A text as calibration data of a decoder: see `daqkf.compiler.text_windows.windows_of`.

    Raises:
        DaqkfError: as there.
    """
    try:
        windows = windows_of(codec, text, min(longest, config.context))
    except ValueError as error:
        raise DaqkfError(describe(error)) from None
    return [inputs_of(config, tokens) for tokens in windows]


def compile_language_model(
    source: str | Path | LanguageModel,
    options: NetworkOptions | None = None,
    *,
    calibration: str | Inputs | Sequence[Inputs] | None = None,
    progress: Progress = silent,
    steps: Steps = NOTHING_KEPT,
    **named: Any,
) -> CompiledLanguageModel:
    """Compile a language model for one array; see `daqkf.compiler.network.compile_network`.

    Args:
        source: a file or a folder that `load_language_model` reads, or what that gives.
        options: see `NetworkOptions`.
        calibration: a text; or the network's inputs by name, or batches of them.
        progress: told of each step.
        steps: where finished steps are kept, and found.
        named: what `NetworkOptions` has, by name, in place of `options`.

    Raises:
        DaqkfError: a file that cannot be read or has something unsupported, options or a text that
            do not fit, or kernels that do not fit the target.
    """
    options = _suited(options or NetworkOptions.of(named, "networks"))
    read = _Read.of(source, calibration)
    compiled = network.compile_network(
        read.network(), options, calibration=read.batches, progress=progress, steps=steps
    )
    return CompiledLanguageModel.of(compiled, read.model.config, read.codec)


def compile_and_measure(
    source: str | Path | LanguageModel,
    options: NetworkOptions,
    *,
    calibration: str | Inputs | Sequence[Inputs] | None = None,
    progress: Progress = silent,
    steps: Steps = NOTHING_KEPT,
) -> tuple[CompiledLanguageModel, Measured | str]:
    """A compiled language model, and how its outputs differ from those of the float one.

    See `compile_language_model` and `daqkf.compiler.network.compile_and_measure`.
    """
    read = _Read.of(source, calibration)
    compiled, measured = network.compile_and_measure(
        read.network(),
        _suited(options),
        calibration=read.batches,
        progress=progress,
        steps=steps,
        measure=options.measure or _some_logits,
    )
    return CompiledLanguageModel.of(compiled, read.model.config, read.codec), measured


def _some_logits(outputs: Mapping[str, NDArray[Any]], inputs: Inputs) -> NDArray[Any]:
    """The logits of every eighth token, from the last one back: all would take gigabytes."""
    return outputs[LOGITS][::-8]


def _suited(options: NetworkOptions) -> NetworkOptions:
    """Options as language models need them: tokens have ranges of their own, results are wide where
    the target has such, and what counts is what follows the tokens."""
    scaled, wide, measure = options.scale_rows, options.wide_results, options.measure
    ranked, machine = options.ranked, load_target(options.target).machine
    if wide is None and machine.wide_results:
        wide = "*"
    found = replace(options, wide_results=wide)
    wide_output = any(fnmatchcase(OUTPUT, name) for name in found.wide_names or ())
    if ranked is None and machine.top_k and wide_output and scaled is not False:
        ranked = OUTPUT
    return replace(
        found,
        scale_rows=True if scaled is None else scaled,
        ranked=ranked,
        measure=NextToken(LOGITS) if measure is None else measure,
    )


@dataclass(frozen=True)
class _Read:
    """A language model whose tokeniser was read, and its calibration data."""

    model: LanguageModel
    codec: TextCodec
    batches: Inputs | Sequence[Inputs] | None

    @classmethod
    def of(
        cls,
        source: str | Path | LanguageModel,
        calibration: str | Inputs | Sequence[Inputs] | None,
    ) -> "_Read":
        """The tokeniser comes first: it costs little, and a text needs it."""
        model = source if isinstance(source, LanguageModel) else load_language_model(source)
        codec = text_codec(model)
        if isinstance(calibration, str):
            calibration = batches_of(model.config, codec, calibration)
        return cls(model, codec, calibration)

    def network(self) -> ModuleOp:
        """The decoder, which the compiler may change."""
        try:
            return self.model.network()
        except DaqkfError:
            raise
        except EXPECTED as error:
            raise DaqkfError(describe(error)) from None


def text_codec(model: LanguageModel) -> TextCodec:
    """The tokeniser of a language model.

    Raises:
        DaqkfError: it cannot be read.
    """
    try:
        return model.text()
    except DaqkfError:
        raise
    except EXPECTED as error:
        raise DaqkfError(describe(error)) from None
