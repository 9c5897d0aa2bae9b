# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf-opt`: run pass pipelines over IR, like mlir-opt."""

import argparse
import logging
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass, PassPipeline
from xdsl.targets.mlir import MLIRTarget
from xdsl.utils.arg_spec import parse_pipeline
from xdsl.utils.exceptions import VerifyException
from xdsl.xdsl_opt_main import xDSLOptMain

from daqkf.cli.guard import Print, add_memory, guarded, versions
from daqkf.compiler.pipelines import PIPELINES
from daqkf.dialects.diagnostics import located
from daqkf.dialects.xdsl_patches import Parser
from daqkf.lowering import PASSES as LOWERINGS
from daqkf.passes import GENERAL_PASSES, PASSES
from daqkf.passes.files import write_atomically
from daqkf.passes.options import instance, pass_options, summary
from daqkf.passes.remarks import REMARKS, remark, remark_if_idle
from daqkf.support.ir import register_dialects

if TYPE_CHECKING:
    from daqkf.compiler.validation import Difference, Validator

ALL_PASSES: dict[str, Callable[[], type[ModulePass]]] = {**PASSES, **LOWERINGS}


def describe_passes() -> str:
    """Every pass with its summary and its options; the text of `--help`."""
    lines = ["passes, for -p 'name{option=value other=value},name':", ""]
    for name, factory in ALL_PASSES.items():
        kind = factory()
        lines += [f"  {name}", *_indented(summary(kind), 6)]
        for option in pass_options(kind):
            default = "required" if option.default is None else option.default
            lines.append(f"      {option.name}: {option.kind} (default: {default})")
            lines += _indented(option.description, 10)
    lines += ["", "  canonicalize, cse", "      xDSL's own.", "", "named pipelines:", ""]
    for name, passes in PIPELINES.items():
        lines += [f"  --pipeline {name}", *_indented(", ".join(passes), 6)]
    return "\n".join(lines)


def _indented(text: str, by: int) -> list[str]:
    width = min(shutil.get_terminal_size((96, 24)).columns, 96)
    indent = " " * by
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def list_passes() -> str:
    """The passes' names with the first sentences of their summaries, and the named pipelines.

    A pipe has a line for each; a terminal, or a pipe of COLUMNS characters, as many as it takes.
    """
    summaries = {name: summary(factory()) for name, factory in ALL_PASSES.items()}
    widest = max(map(len, (*summaries, *PIPELINES)))
    said = {name: text.split(". ")[0] for name, text in summaries.items()}
    said |= dict.fromkeys(GENERAL_PASSES, "xDSL's own")
    rows = [*said.items()]
    rows += [(name, f"--pipeline, of {len(own)} passes") for name, own in PIPELINES.items()]
    width = max(shutil.get_terminal_size((sys.maxsize, 24)).columns, widest + 22)
    wrapper = textwrap.TextWrapper(width, subsequent_indent=" " * (widest + 2))
    return "\n".join(wrapper.fill(f"{name:{widest}}  {text}") for name, text in rows)


class _Buffer(StringIO):
    """Output that is only written once everything has worked."""

    def close(self) -> None:
        """Stay readable when the driver is done with it."""


class _Versions(str):
    """All versions, in place of a text with that of xDSL; looked up when somebody asks."""

    def format(self, *_: object, **__: object) -> str:
        return versions()


class DaqkfOptMain(xDSLOptMain):
    """xDSL's driver with DAQKF's dialects, passes and one-line errors."""

    version_format = _Versions()

    def register_all_dialects(self) -> None:
        register_dialects(self.ctx)

    def register_all_frontends(self) -> None:
        self.available_frontends["mlir"] = self.parse_chunk

    def parse_chunk(
        self, chunk: IO[bytes], file_extension: str = "mlir", start_offset: int = 0
    ) -> ModuleOp:
        """The module in a text that stands behind so many lines of its file."""
        parser = Parser(self.ctx, chunk.read(), self.get_input_name(), start_offset)
        return parser.parse_module(not self.args.no_implicit_module)

    def register_all_passes(self) -> None:
        for name, factory in (ALL_PASSES | GENERAL_PASSES).items():
            self.register_pass(name, factory)

    def register_all_targets(self) -> None:
        # xDSL would look through the entry points of all packages for them.
        self.available_targets["mlir"] = lambda: MLIRTarget

    def register_all_arguments(self, arg_parser: argparse.ArgumentParser) -> None:
        super().register_all_arguments(arg_parser)
        arg_parser.add_argument(
            "--pipeline", choices=PIPELINES, help="run a named pipeline, before any -p"
        )
        arg_parser.add_argument(
            "--list-passes",
            action=Print,
            nargs=0,
            text=lambda _: list_passes(),
            help="print the names of all passes and pipelines, with a sentence on each",
        )
        arg_parser.add_argument(
            "--show-pipeline",
            action=Print,
            choices=PIPELINES,
            text=lambda name: ",".join(PIPELINES[name]),
            help="print the passes of a named pipeline, as -p takes them",
        )
        arg_parser.add_argument(
            "--validate",
            action="store_true",
            help="run the IR before and after each pass on random inputs, and fail at the first "
            "pass that changes a result, with a module that is reduced to what shows it",
        )
        arg_parser.add_argument(
            "--validate-seed",
            metavar="N",
            type=int,
            default=0,
            help="the seed of the random inputs (default: 0)",
        )
        add_memory(arg_parser)
        options_help = arg_parser.format_help
        # The passes are imported for their options only when somebody asks.
        arg_parser.format_help = lambda: f"{options_help()}\n{describe_passes()}\n"
        usage_error = arg_parser.exit
        arg_parser.error = lambda message: usage_error(  # pyright: ignore
            2, f"{arg_parser.prog}: {message} (see --help)\n"
        )

    def setup_pipeline(self) -> None:
        if self.args.input_file == "-":
            self.args.input_file = None  # standard input
        # IR is read whatever its file is called.
        self.args.frontend = self.args.frontend or "mlir"
        if self.args.pipeline:
            named = PIPELINES[self.args.pipeline]
            self.args.passes = ",".join([*named, *filter(None, [self.args.passes])])
        known = ", ".join(self.available_passes)
        instances: list[ModulePass] = []
        for spec in parse_pipeline(self.args.passes):
            if spec.name not in self.available_passes:
                raise ValueError(f"unknown pass '{spec.name}' (known: {known})")
            instances.append(instance(self.available_passes[spec.name](), spec))
        # The options are read; xDSL's own setup is for what it does between passes.
        self.args.passes = ""
        super().setup_pipeline()
        between = self.pipeline.callback
        assert between is not None
        validator = self._validator() if self.args.validate else None

        def callback(
            before: ModulePass | None, module: ModuleOp, following: ModulePass | None
        ) -> None:
            try:
                between(before, module, following)
            except VerifyException as error:
                raise located(module, error) from None
            if validator is not None and (found := validator.between(before, module, following)):
                raise ChangedResultError(found)
            if following is not None and following.name in ALL_PASSES:
                remark_if_idle(following.name, module)

        self.pipeline = PassPipeline(tuple(instances), callback)

    def _validator(self) -> "Validator":
        """What follows the pipeline; loaded only here, as it runs IR."""
        from daqkf.compiler.validation import Validator

        if self.args.validate_seed < 0:
            raise ValueError("--validate-seed must not be negative")
        return Validator(self.args.validate_seed, remark)

    def prepare_output(self) -> IO[str]:
        self.output = _Buffer()
        return self.output

    def finish(self) -> None:
        """Write the result, to the output file or to standard output."""
        text = self.output.getvalue()
        if self.args.output_file is None:
            sys.stdout.write(text)
        else:
            write_atomically(Path(self.args.output_file), text.encode())


class ChangedResultError(Exception):
    """A pass has changed a result (`--validate`)."""

    def __init__(self, difference: "Difference"):
        super().__init__(str(difference))
        self.difference = difference


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""

    def body() -> int:
        REMARKS.setLevel(logging.INFO)
        REMARKS.handlers = [handler := logging.StreamHandler()]
        handler.setFormatter(logging.Formatter("daqkf-opt: remark: %(message)s"))
        tool = DaqkfOptMain("DAQKF's pass driver, for IR of every level", args)
        try:
            tool.run()
        except ChangedResultError as error:
            print(f"daqkf-opt: --validate: {error}", file=sys.stderr)
            print(error.difference.report(), end="", file=sys.stderr)
            return 1
        tool.finish()
        return 0

    return guarded("daqkf-opt", body)


if __name__ == "__main__":
    sys.exit(main())
