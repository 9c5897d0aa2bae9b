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
    from daqkf.passes.progress import Progress

PICTURES = ("svg", "png")
"""Suffixes of pictures that can be drawn."""


def shown(text: str) -> str:
    """Text of a model as a terminal may have it: lines, and letters in them."""
    return "\n".join(
        "\t".join(printable(part) for part in line.split("\t")) for line in text.split("\n")
    )


def generate(options: argparse.Namespace) -> int:
    """Print what a model writes behind prompts; returns the exit code."""
    sampling = _sampling(options)
    with _model(options, sampling) as (model, engine):
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
    with _model(options, sampling) as (model, engine):
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
def _model(
    options: argparse.Namespace, sampling: dict[str, Any]
) -> "Iterator[tuple[CompiledLanguageModel, Engine]]":
    """A model and what runs it; afterwards, how fast it was is said on standard error."""
    from rich.console import Console

    from daqkf.compiler.compiled_language_model import CompiledLanguageModel
    from daqkf.compiler.compiled_network import FAST, RTL
    from daqkf.compiler.generation import Sampling
    from daqkf.support.console import showing

    if options.accelerator == FAST and (options.check or options.layers is not None):
        raise DaqkfError("--layers and --check are for --accelerator rtl or queue")
    with showing(Console(stderr=True), "read") as progress:
        model = CompiledLanguageModel.load(options.model)
        if options.accelerator != FAST:
            progress("build the simulator, once")
        most = Sampling(**sampling).most
        engine = model.engine(options.accelerator, options.layers, options.check, logits=most)
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
    sparsities what is compiled of it, beside what plainer ways make of it.
    """
    from rich.console import Console

    from daqkf.support.console import showing
    from daqkf.support.tables import print_table

    for name in ("accuracy", "sentences", "quick"):
        if getattr(options, name):
            raise DaqkfError(f"--{name} is for MiniLM")
    kind = Path(options.plot).suffix.removeprefix(".") if options.plot else ""
    if options.plot and kind not in PICTURES:
        raise DaqkfError(f"{options.plot}: a picture is {' or '.join(PICTURES)}")
    with showing(Console(stderr=True), "read") as progress:
        rows = _rows(options, progress)
    facts = {"model": options.model, "text": options.text or "ours", "rows": rows}
    output = Path(options.output) / "eval.json"
    write_atomically(output, (json.dumps(facts, indent=2) + "\n").encode())
    if options.plot:
        from daqkf.studies.language.picture import picture

        drawn = [row for row in rows if "kl" in row]
        write_atomically(Path(options.plot), picture(drawn, kind))
    print_table(figures_table(rows), keys=1)
    print(f"{output}: {len(rows)} row{'s' if len(rows) > 1 else ''}")
    return 0


def _rows(options: argparse.Namespace, progress: "Progress") -> list[dict[str, Any]]:
    """The figures of each model that is measured."""
    from daqkf.compiler.compiled_language_model import CompiledLanguageModel
    from daqkf.compiler.evaluation import WINDOW
    from daqkf.compiler.language_models import TARGET, is_language_model, load_language_model
    from daqkf.compiler.options import NetworkOptions
    from daqkf.studies.language.evaluation import LanguageEvaluation
    from daqkf.studies.smollm2.packaged import own_text
    from daqkf.support.kept import Kept

    file = file_of(options.model)
    is_source = is_language_model(file)
    if options.sparsity and not is_source:
        raise DaqkfError("--sparsity is for a model's file, not for what is compiled already")
    against = file if is_source else options.against and file_of(options.against)
    sparsities = options.sparsity or []
    levels = _for_each(sparsities, "levels", options.levels or ["int8"])
    passes = _for_each(sparsities, "distillation", options.distillation or [0])
    chosen = NetworkOptions(
        target=options.target or TARGET,
        pre_norms=options.pre_norms,
        wide_results=options.wide_results,
        jobs=None,
    )
    text = read_text(options.text or own_text("evaluation"))
    calibration = read_text(options.calibration or own_text("calibration"))
    window = WINDOW if options.window is None else options.window
    asked = [options.model, repr(chosen), options.against, window, text, calibration]
    measured = LanguageEvaluation(
        text,
        calibration,
        window,
        progress,
        Kept.of("eval-language", asked, resume=options.resume),
        load_language_model(against) if against else None,
        chosen,
    )
    if not is_source:
        return [measured.compiled(CompiledLanguageModel.load(file))]
    points = list(zip(sparsities, levels, passes, strict=True))
    return list(measured.rows(points, options.baselines))


def _for_each[Value](sparsities: list[float], name: str, given: list[Value]) -> list[Value]:
    """What an option says for each share of zeros.

    Raises:
        DaqkfError: neither one value, nor one for each.
    """
    if len(given) not in (1, len(sparsities)):
        raise DaqkfError(
            f"{len(given)} --{name} for {len(sparsities)} --sparsity: give one, or one for each"
        )
    return given * len(sparsities) if len(given) == 1 else given


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
