# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf-opt`: run pass pipelines over IR, like mlir-opt."""

import argparse
import sys
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import IO

from xdsl.passes import ModulePass, get_pass_option_infos
from xdsl.utils.arg_spec import parse_pipeline
from xdsl.xdsl_opt_main import xDSLOptMain

from daqkf.cli.guard import guarded
from daqkf.compiler.pipelines import PIPELINES
from daqkf.lowering import PASSES as LOWERINGS
from daqkf.passes import PASSES
from daqkf.passes.files import write_atomically
from daqkf.support.ir import register_dialects

ALL_PASSES: dict[str, Callable[[], type[ModulePass]]] = {**PASSES, **LOWERINGS}


def _canonicalize() -> type[ModulePass]:
    from xdsl.transforms.canonicalize import CanonicalizePass

    return CanonicalizePass


def _cse() -> type[ModulePass]:
    from xdsl.transforms.common_subexpression_elimination import CommonSubexpressionElimination

    return CommonSubexpressionElimination


GENERAL_PASSES: dict[str, Callable[[], type[ModulePass]]] = {
    "canonicalize": _canonicalize,
    "cse": _cse,
}
"""Passes of xDSL's own that make sense at every level."""


def describe_passes() -> str:
    """Every pass with its summary and its options; the text of `--help`."""
    lines = ["passes, for -p 'name{option=value other=value},name':", ""]
    for name, factory in ALL_PASSES.items():
        kind = factory()
        summary = (kind.__doc__ or "").strip().splitlines()[0]
        lines += [f"  {name}", f"      {summary}"]
        for option in get_pass_option_infos(kind):
            default = "required" if option.default_value is None else option.default_value
            spelled = option.name.replace("_", "-")
            lines.append(f"      {spelled}: {option.expected_type} (default: {default})")
    lines += ["", "  canonicalize, cse", "      xDSL's own.", "", "named pipelines:", ""]
    for name, passes in PIPELINES.items():
        lines += [f"  --pipeline {name}", f"      {','.join(passes)}"]
    return "\n".join(lines)


class _Buffer(StringIO):
    """Output that is only written once everything has worked."""

    def close(self) -> None:
        """Stay readable when the driver is done with it."""


class DaqkfOptMain(xDSLOptMain):
    """xDSL's driver with DAQKF's dialects, passes and one-line errors."""

    version_format = "daqkf-opt, with xDSL {xdsl_version}"

    def register_all_dialects(self) -> None:
        register_dialects(self.ctx)

    def register_all_passes(self) -> None:
        for name, factory in (ALL_PASSES | GENERAL_PASSES).items():
            self.register_pass(name, factory)

    def register_all_targets(self) -> None:
        super().register_all_targets()
        self.available_targets = {"mlir": self.available_targets["mlir"]}

    def register_all_arguments(self, arg_parser: argparse.ArgumentParser) -> None:
        super().register_all_arguments(arg_parser)
        arg_parser.add_argument(
            "--pipeline", choices=PIPELINES, help="run a named pipeline, before any -p"
        )
        options_help = arg_parser.format_help
        # The passes are imported for their options only when somebody asks.
        arg_parser.format_help = lambda: f"{options_help()}\n{describe_passes()}\n"
        usage_error = arg_parser.exit
        arg_parser.error = lambda message: usage_error(  # pyright: ignore
            2, f"{arg_parser.prog}: {message} (see --help)\n"
        )

    def setup_pipeline(self) -> None:
        # IR is read whatever its file is called.
        self.args.frontend = self.args.frontend or "mlir"
        if self.args.pipeline:
            named = PIPELINES[self.args.pipeline]
            self.args.passes = ",".join([*named, *filter(None, [self.args.passes])])
        known = ", ".join(self.available_passes)
        for spec in parse_pipeline(self.args.passes):
            if spec.name not in self.available_passes:
                raise ValueError(f"unknown pass '{spec.name}' (known: {known})")
        super().setup_pipeline()

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


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""

    def body() -> int:
        tool = DaqkfOptMain("DAQKF's pass driver, for IR of every level", args)
        tool.run()
        tool.finish()
        return 0

    return guarded("daqkf-opt", body)


if __name__ == "__main__":
    sys.exit(main())
