# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf generate`, `daqkf chat`, and `daqkf eval` of language models."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daqkf.cli.files import read_text
from daqkf.cli.networks import file_of
from daqkf.passes.files import write_atomically
from daqkf.support.errors import DaqkfError, printable

if TYPE_CHECKING:
    from daqkf.compiler.compiled_language_model import CompiledLanguageModel
    from daqkf.compiler.decoding import Engine
    from daqkf.compiler.evaluation import Evaluated
    from daqkf.lowering.frontends.decoder import LanguageModel
    from daqkf.lowering.frontends.text import TextCodec
    from daqkf.passes.progress import Progress


def shown(text: str) -> str:
    """Text of a model as a terminal may have it: lines, and letters in them."""
    return "\n".join(
        "\t".join(printable(part) for part in line.split("\t")) for line in text.split("\n")
    )


def generate(options: argparse.Namespace) -> int:
    """Print what a model writes behind prompts; returns the exit code."""
    sampling = _sampling(options)
    with _model(options) as (model, engine):
        prompts = options.prompt
        if len(prompts) == 1:
            _print(model.generate(prompts[0], engine=engine, **sampling))
            return 0
        texts = [""] * len(prompts)
        for number, piece in model.generate_together(prompts, engine=engine, **sampling):
            texts[number] += piece
        for prompt, text in zip(prompts, texts, strict=True):
            print(shown(prompt + text), end="\n\n")
    return 0


def chat(options: argparse.Namespace) -> int:
    """Answer what a user says, line after line, until the input ends; returns the exit code."""
    sampling = _sampling(options)
    with _model(options) as (model, engine):
        messages = [{"role": "system", "content": options.system}] if options.system else []
        for line in _lines():
            messages.append({"role": "user", "content": line})
            answer = _print(model.chat(messages, engine=engine, **sampling))
            messages.append({"role": "assistant", "content": answer})
    return 0


def _print(pieces: Iterator[str]) -> str:
    """Print pieces of a text as they come, and end the line; gives the whole text."""
    text = ""
    try:
        for piece in pieces:
            text += piece
            print(shown(piece), end="", flush=True)
    except BaseException:
        if text:
            print()
        raise
    print()
    return text


def _lines() -> Iterator[str]:
    """The lines of standard input that are not empty, behind a prompt if somebody types them."""
    typed = sys.stdin.isatty()
    while True:
        if typed:
            print("> ", end="", flush=True)
        try:
            line = sys.stdin.readline()
        except UnicodeDecodeError:
            raise DaqkfError("standard input: not a text") from None
        if not line:
            if typed:
                print()
            return
        if line.strip():
            yield line.strip()


def _sampling(options: argparse.Namespace) -> dict[str, Any]:
    """The options of sampling, which are refused before a model is read."""
    from daqkf.compiler.generation import Sampling

    names = "tokens", "temperature", "top_k", "seed", "stop"
    found = {name: getattr(options, name) for name in names}
    Sampling(**found)
    return found


@contextmanager
def _model(options: argparse.Namespace) -> "Iterator[tuple[CompiledLanguageModel, Engine]]":
    """A model and what runs it; afterwards, how fast it was is said on standard error."""
    from rich.console import Console

    from daqkf.compiler.compiled_language_model import CompiledLanguageModel
    from daqkf.compiler.compiled_network import FAST, RTL
    from daqkf.support.console import showing

    if options.accelerator == FAST and (options.check or options.layers is not None):
        raise DaqkfError("--layers and --check are for --accelerator rtl or queue")
    with showing(Console(stderr=True), "read") as progress:
        model = CompiledLanguageModel.load(options.model)
        if options.accelerator != FAST:
            progress("build the simulator, once")
        engine = model.engine(options.accelerator, options.layers, options.check)
    yield model, engine
    print(engine.speeds.line(), file=sys.stderr)
    if options.accelerator == RTL:
        cycles = sum(entry.total for entry in model.simulated.cycles.values())
        count = len(model.simulated.cycles)
        print(f"{cycles:,} cycles of the array, {count} programs", file=sys.stderr)
    if options.check:
        names = model.selected()
        only = [f"layers.{layer}." for layer in options.layers or ()]
        own = len(model.selected(tuple(only) if only else ""))
        print(f"{own} of {len(names)} kernels equal, bit for bit", file=sys.stderr)


def evaluate(options: argparse.Namespace) -> int:
    """Measure a language model on a text; returns the exit code.

    A folder is that of a compiled model. A file, or `smollm2`, is the float model, and with
    sparsities what is compiled of it.
    """
    from rich.console import Console

    from daqkf.studies.smollm2.packaged import own_text
    from daqkf.support.console import showing
    from daqkf.support.tables import print_table

    for name in ("accuracy", "sentences", "quick"):
        if getattr(options, name):
            raise DaqkfError(f"--{name} is for MiniLM")
    text = read_text(options.text or own_text("evaluation"))
    with showing(Console(stderr=True), "read") as progress:
        rows = list(_rows(options, text, progress))
    facts = {"model": options.model, "text": options.text or "ours", "rows": rows}
    output = Path(options.output) / "eval.json"
    write_atomically(output, (json.dumps(facts, indent=2) + "\n").encode())
    print_table(figures_table(rows), keys=1)
    print(f"{output}: {len(rows)} row{'s' if len(rows) > 1 else ''}")
    return 0


def _rows(options: argparse.Namespace, text: str, progress: "Progress") -> Iterator[dict[str, Any]]:
    """The figures of each model that is measured."""
    from daqkf.compiler.compiled_language_model import CompiledLanguageModel
    from daqkf.compiler.decoding import Engine
    from daqkf.compiler.language_models import is_language_model, load_language_model

    file = file_of(options.model)
    is_source = is_language_model(file)
    against = file if is_source else options.against and file_of(options.against)
    dense: LanguageModel | None = load_language_model(against) if against else None
    reference = Engine(dense.network(), dense.config) if dense else None
    measure = _Measure(options, text, reference, progress)
    if not is_source:
        if options.sparsity:
            raise DaqkfError("--sparsity is for a model's file, not for what is compiled already")
        yield measure.of(CompiledLanguageModel.load(file), "compiled")
        return
    assert dense is not None and reference is not None
    found = measure.evaluated(reference, dense.text(), "dense")
    yield {"name": "dense", **found.facts()}
    for sparsity in options.sparsity or ():
        yield measure.of(measure.compiled(dense, sparsity), f"{sparsity:.0%} zeros")


class _Measure:
    """What models are measured on, and with what."""

    def __init__(
        self,
        options: argparse.Namespace,
        text: str,
        reference: "Engine | None",
        progress: "Progress",
    ):
        from daqkf.compiler.evaluation import WINDOW
        from daqkf.studies.smollm2.packaged import own_text
        from daqkf.support.kept import Kept

        self.calibration = read_text(options.calibration or own_text("calibration"))
        self.options, self.text, self.reference, self.progress = options, text, reference, progress
        self.window = WINDOW if options.window is None else options.window
        asked = [options.model, options.levels, options.target, options.against, self.window]
        asked += [text, self.calibration]
        self.steps = Kept.of("eval-language", asked, resume=options.resume)

    def evaluated(self, engine: "Engine", codec: "TextCodec", name: str) -> "Evaluated":
        """What a model makes of the text."""
        from daqkf.compiler import evaluation
        from daqkf.passes.progress import within

        reference = None if engine is self.reference else self.reference
        return evaluation.evaluate(
            engine,
            codec,
            self.text,
            self.window,
            reference,
            within(self.progress, name),
            self.steps.inner(name),
        )

    def compiled(self, model: "LanguageModel", sparsity: float) -> "CompiledLanguageModel":
        """The model with a share of zeros."""
        from daqkf.compiler.language_models import compile_language_model
        from daqkf.compiler.options import NetworkOptions
        from daqkf.passes.progress import within

        options = NetworkOptions(
            sparsity=sparsity or None,
            levels=self.options.levels or "int8",
            target=self.options.target,
            jobs=None,
        )
        name = f"{sparsity:.0%} zeros"
        return compile_language_model(
            model,
            options,
            calibration=self.calibration,
            progress=within(self.progress, name),
            steps=self.steps.inner(["compile", name]),
        )

    def of(self, model: "CompiledLanguageModel", name: str) -> dict[str, Any]:
        """The figures of a compiled model."""
        found = self.evaluated(model.engine(), model.text, name)
        return {
            "name": name,
            **found.facts(),
            "zeros": model.sparsity(),
            "magnitudes": model.magnitudes()[0],
            "bytes_per_token": sum(row["program_bytes"] for row in model.traffic()),
            "cycles": model.cycles,
        }


def figures_table(rows: list[dict[str, Any]]) -> Any:
    """The figures as a table."""
    from rich.table import Table

    caption = (
        f"{rows[0]['tokens']:,} tokens of windows of up to {rows[0]['window']:,}; bytes are those "
        "of all programs, which a token takes by itself, and cycles those of a tile"
    )
    found, kinds = Table(caption=caption), _COLUMNS
    found.add_column("model")
    for heading, _, _ in kinds:
        found.add_column(heading, justify="right")
    for row in rows:
        cells = (format(row[key], form) if key in row else "" for _, key, form in kinds)
        found.add_row(row["name"], *cells)
    return found


_COLUMNS = (
    ("perplexity", "perplexity", ".2f"),
    ("KL to dense", "kl", ".4f"),
    ("same first", "same_first", ".1%"),
    ("zeros", "zeros", ".1%"),
    ("magnitudes", "magnitudes", ".1f"),
    ("bytes a token", "bytes_per_token", ","),
    ("cycles a tile", "cycles", ","),
)
"""The headings of the table, and the figures below them."""
