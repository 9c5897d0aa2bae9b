# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Text files of packages, from templates of Jinja.

Commands of Tcl and of Verilog are full of braces, so templates have `<< >>` and `<% %>` in place of
those of Jinja.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from daqkf.dialects.errors import from_extra

if TYPE_CHECKING:
    from jinja2 import Environment


def _environment() -> "Environment":
    with from_extra("package"):
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # nothing of it is HTML, and nothing in it is of somebody else
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
    )


def render(template: str, **values: Any) -> bytes:
    """A file made from a template.

    Args:
        template: its path in this folder.
        values: what it names.

    Raises:
        DaqkfError: Jinja is not installed.
    """
    return _environment().get_template(template).render(values).encode()
