# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What compilations have saved, by the files of its folder."""

from pathlib import Path

from daqkf.compiler.compiled_language_model import LANGUAGE, CompiledLanguageModel
from daqkf.compiler.compiled_network import FACTS, CompiledNetwork
from daqkf.compiler.design import Design


def load(folder: str | Path) -> Design | CompiledNetwork:
    """What a folder has that `save` or `daqkf compile` wrote: a layer, a network, or a language
    model.

    Raises:
        DaqkfError: as `Design.load`, `CompiledNetwork.load` and `CompiledLanguageModel.load`.
    """
    folder = Path(folder)
    if not (folder / FACTS).exists():
        return Design.load(folder)
    if (folder / LANGUAGE).exists():
        return CompiledLanguageModel.load(folder)
    return CompiledNetwork.load(folder)
