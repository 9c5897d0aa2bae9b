# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A compiled language model: a compiled decoder, its architecture and its tokeniser."""

import json
from dataclasses import asdict, dataclass
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints, override

from xdsl.dialects.builtin import TensorType

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.folder import Folder
from daqkf.dialects.interpreting import entry
from daqkf.lowering.frontends.decoder import LOGITS, POSITIONS, TOKENS, DecoderConfig, cache_names
from daqkf.lowering.frontends.text import TextCodec, parse_tokenizer
from daqkf.support.errors import DaqkfError
from daqkf.support.facts import Facts

LANGUAGE, TOKENIZER = "language.json", "tokenizer.json"
"""What a folder has beside the files of a network: facts of the decoder and of its text, and the
tokeniser as the package `tokenizers` writes it."""


@dataclass(frozen=True, eq=False, repr=False)
class CompiledLanguageModel(CompiledNetwork):
    """A compiled network that is a decoder of text, and what turns text into its tokens."""

    decoder_config: DecoderConfig
    text: TextCodec

    @classmethod
    def of(cls, compiled: CompiledNetwork, config: DecoderConfig, text: TextCodec) -> Self:
        """A compiled network of `lowering.frontends.decoder` with its architecture and tokeniser.

        Raises:
            DaqkfError: the network is no decoder of this architecture.
        """
        found = cls(compiled.network, compiled.arrays, compiled.options, config, text)
        found._require_decoder()
        return found

    def _require_decoder(self) -> None:
        """Check that `main` takes and gives what a decoder of the architecture does."""
        config, function = self.decoder_config, entry(self.network)
        inputs = [TOKENS, POSITIONS, *cache_names(config.layers, "past")]
        outputs = [LOGITS, *cache_names(config.layers, "present")]
        cache = (config.groups, config.features)
        shapes = [(), (), *[cache] * (2 * config.layers)]
        results = [(config.vocabulary,), *[cache] * (2 * config.layers)]
        for names, expected, kinds, extents in (
            (self.inputs, inputs, function.function_type.inputs, shapes),
            (self.outputs, outputs, function.function_type.outputs, results),
        ):
            found = [
                kind.get_shape()[1:] if isinstance(kind, TensorType) else None for kind in kinds
            ]
            if names != expected or found != extents:
                raise DaqkfError("the network is not a decoder of the architecture beside it")

    @override
    def contents(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The facts and files of a network's folder, with those of the decoder and its text."""
        facts, files = super().contents()
        text = self.text
        language = {
            "decoder": asdict(self.decoder_config) | {"biases": sorted(self.decoder_config.biases)},
            "text": {
                "begin": text.begin,
                "ends": sorted(text.ends),
                "chat_template": text.chat_template,
                "missing": sorted(text.missing),
            },
        }
        files[LANGUAGE] = (json.dumps(language, indent=2) + "\n").encode()
        files[TOKENIZER] = text.tokenizer.to_str().encode()
        return facts, files

    @classmethod
    @override
    def of_folder(cls, saved: Folder) -> Self:
        """What a folder has, of which only the hashes were looked at.

        Raises:
            DaqkfError, ValueError, DiagnosticException: as `CompiledNetwork.of_folder`; or it is
                the folder of another network, or tokeniser and architecture do not fit it.
        """
        if not saved.has(LANGUAGE):
            raise DaqkfError(f"{saved.path}: the folder of a network that is no language model")
        facts = Facts.read(saved.path / LANGUAGE)
        config = _decoder_config(facts.part("decoder"))
        text = _text(saved, facts.part("text"), config.vocabulary)
        return cls.of(CompiledNetwork.of_folder(saved), config, text)


def _decoder_config(facts: Facts) -> DecoderConfig:
    """The architecture that a folder keeps."""
    hints = get_type_hints(DecoderConfig)
    if surplus := sorted(set(facts.values) - set(hints)):
        raise DaqkfError(f"{facts.path}: '{facts.place}{surplus[0]}' is not known")
    values = {name: _value(facts, name, hint) for name, hint in hints.items()}
    try:
        return DecoderConfig(**values)
    except ValueError as error:
        raise DaqkfError(f"{facts.path}: {error}") from None


def _value(facts: Facts, name: str, hint: Any) -> Any:
    """A field of this type, as JSON has it."""
    if isinstance(hint, UnionType):
        hint, _ = get_args(hint)  # the other one is None
        if name in facts.values and facts.values[name] is None:
            return None
    container = get_origin(hint)
    if container is None:
        return facts.get(name, hint)
    return container(facts.items(name, get_args(hint)[0]))


def _text(saved: Folder, facts: Facts, vocabulary: int) -> TextCodec:
    """The tokeniser that a folder keeps."""
    template = _value(facts, "chat_template", str | None)
    begin, ends = _value(facts, "begin", int | None), facts.items("ends", int)
    missing = facts.items("missing", int)
    for token in [*ends, *([] if begin is None else [begin])]:
        if not 0 <= token < vocabulary:
            raise DaqkfError(f"{facts.path}: token {token} is none of {vocabulary}")
    tokenizer = parse_tokenizer(saved.data(TOKENIZER), saved.path / TOKENIZER, vocabulary)
    return TextCodec(tokenizer, begin, frozenset(ends), template, frozenset(missing))
