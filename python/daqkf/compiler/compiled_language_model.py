# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A compiled language model: a compiled decoder, its architecture and its tokeniser."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints, override

from xdsl.dialects.builtin import TensorType

from daqkf.compiler.chat import Messages, chat_prompt
from daqkf.compiler.compiled_network import FAST, CompiledNetwork
from daqkf.compiler.decoding import PART, Engine
from daqkf.compiler.evaluation import WINDOW, Evaluated, evaluate
from daqkf.compiler.folder import Folder
from daqkf.compiler.generation import Sampling, encoded, write
from daqkf.dialects.interpreting import entry
from daqkf.dialects.nn import ElementwiseOp, LinearOp
from daqkf.dialects.nn.base import RANKED, shape_of
from daqkf.dialects.nn.elementwise import Function
from daqkf.dialects.nn.interpreter import CachedAttention, NnFunctions
from daqkf.lowering.frontends.decoder import LOGITS, POSITIONS, TOKENS, DecoderConfig, cache_names
from daqkf.lowering.frontends.text import TextCodec, parse_tokenizer
from daqkf.passes.nn_kernels import kernel_of
from daqkf.passes.progress import Progress, silent
from daqkf.runtime.accelerators import Accelerator
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

    def engine(
        self,
        accelerator: Accelerator | str = FAST,
        layers: Sequence[int] | None = None,
        check: bool = False,
        progress: Progress = silent,
        logits: int | None = None,
    ) -> Engine:
        """What runs the decoder for any number of texts.

        Args:
            accelerator: see `CompiledNetwork.run`.
            layers: those whose kernels run on it, the others in the fast model; None for all
                kernels, that of the output among them.
            check: compare what the accelerator gives with the fast model, bit for bit.
            progress: told what runs next.
            logits: how many of the largest logits of each token are wanted; None for all. If an
                accelerator can find as many (`largest_logits`), no others leave it, and these are
                -∞.

        Raises:
            DaqkfError: an unknown accelerator, or a layer that the model does not have.
        """
        most = self.decoder_config.layers
        for layer in layers or ():
            if not 0 <= layer < most:
                raise DaqkfError(f"there is no layer {layer}: they are 0 … {most - 1}")
        only = "" if layers is None else [f"layers.{layer}." for layer in layers]
        ranked = self._ranked if logits and logits <= self.largest_logits else None
        runner = self.runner(accelerator, only, check, progress=progress, ranked=ranked)

        def functions(cached: CachedAttention) -> NnFunctions:
            return NnFunctions(runner.kernel, runner.product, runner.attention, cached)

        part = PART if runner.device is None else None
        return Engine(
            self.network, self.decoder_config, functions, room=self.attention_room, part=part
        )

    @property
    def largest_logits(self) -> int:
        """How many of the largest logits of a token the array can find: its `top_k`, if nothing but
        a number for each token stands between the logits and the wide results of a ranked kernel,
        else 0."""
        name = self._ranked
        wide = any(stage.wide for stage in self.stages if stage.name == name)
        return self.config.top_k if wide else 0

    @cached_property
    def _ranked(self) -> str | None:
        """The kernel of the logits, if its results are in their order."""
        ops = list(entry(self.network).body.block.ops)
        scaled = ops[-1].operands[0].owner
        if not isinstance(scaled, ElementwiseOp) or scaled.kind.data is not Function.MUL:
            return None
        calls = [value.owner for value in scaled.inputs if isinstance(value.owner, LinearOp)]
        factors = [value for value in scaled.inputs if not isinstance(value.owner, LinearOp)]
        if len(calls) != 1 or (shape_of(factors[0]) or (0,))[-1] != 1:
            return None
        kernel = kernel_of(calls[0])
        return kernel.sym_name.data if RANKED in kernel.attributes else None

    @cached_property
    def _fast(self) -> Engine:
        """The fast model, for whoever asks for nothing else."""
        return self.engine()

    def generate(
        self, prompt: str, *, engine: Engine | None = None, **sampling: Any
    ) -> Iterator[str]:
        """What the model writes behind a prompt, in pieces of whole characters, as they come.

        Args:
            prompt: a text that is not empty.
            engine: what runs the decoder; see `engine`. By default the fast model.
            sampling: see `daqkf.compiler.generation.Sampling`.

        Raises:
            DaqkfError: an empty prompt, a prompt and tokens beyond the model's context, or numbers
                that cannot be.
        """
        return (piece for _, piece in self.generate_together([prompt], engine=engine, **sampling))

    def generate_together(
        self, prompts: Sequence[str], *, engine: Engine | None = None, **sampling: Any
    ) -> Iterator[tuple[int, str]]:
        """What the model writes behind several prompts: pieces, each with its prompt's number.

        The tokens of all texts go through kernels together, so that they share tiles.

        Raises:
            DaqkfError: as `generate`.
        """
        found = _sampling(sampling)
        tokens = [encoded(self.text, prompt) for prompt in prompts]
        return write(engine or self._fast, self.text, tokens, found)

    def chat(
        self, messages: Messages, *, engine: Engine | None = None, **sampling: Any
    ) -> Iterator[str]:
        """What the model answers in a conversation, by the chat template of its file.

        Args:
            messages: what the user says; or messages with their `role` and `content`, of which the
                last one is to be answered.
            engine: see `generate`.
            sampling: see `generate`.

        Raises:
            DaqkfError: as `generate`; or there is no template, or it fails.
        """
        found = _sampling(sampling)
        tokens = chat_prompt(self.text, messages)
        return (piece for _, piece in write(engine or self._fast, self.text, [tokens], found))

    def evaluate(
        self,
        text: str,
        *,
        window: int = WINDOW,
        reference: Engine | None = None,
        engine: Engine | None = None,
        progress: Progress = silent,
    ) -> Evaluated:
        """How well the model foretells a text; see `daqkf.compiler.evaluation.evaluate`.

        Raises:
            DaqkfError: there is no text, or a window that cannot be.
        """
        return evaluate(engine or self._fast, self.text, text, window, reference, progress=progress)

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


def _sampling(named: Mapping[str, Any]) -> Sampling:
    """How tokens are chosen, by name."""
    known = [entry.name for entry in fields(Sampling)]
    for name in named:
        if name not in known:
            raise DaqkfError(f"unknown option '{name}' (known: engine, {', '.join(known)})")
    return Sampling(**named)


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
