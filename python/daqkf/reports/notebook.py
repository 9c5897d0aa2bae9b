# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What notebooks show of a compiled layer or network: its figures, and a picture of its weights."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from daqkf.dialects.errors import DaqkfError
from daqkf.reports.model import Entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 900
"""Of a picture, in CSS pixels at most."""


def page(title: str, facts: Mapping[str, str], entries: Sequence[Entry]) -> str:
    """An HTML fragment: a title, a table of facts by name, and a picture of the weights.

    All texts are escaped, as names come from files.
    """
    rows = "".join(
        f'<tr><th style="text-align: left">{escape(name)}</th><td>{escape(text)}</td></tr>'
        for name, text in facts.items()
    )
    table = f"<table>{rows}</table>"
    try:
        image = _image(picture(entries))
    except DaqkfError as error:  # there is no matplotlib, and the table says enough
        image = f"<p>{escape(str(error))}</p>"
    return f"<div><b>{escape(title)}</b>{table}{image}</div>"


def picture(entries: Sequence[Entry]) -> "Figure":
    """The picture of one matrix, or an overview of several."""
    from daqkf.reports.figures import matrix_figure, overview_figure

    return matrix_figure(entries[0]) if len(entries) == 1 else overview_figure(entries)


def _image(figure: "Figure") -> str:
    from daqkf.reports.figures import rendered

    data = b64encode(rendered(figure, "png")).decode()
    return f'<img style="max-width: {_WIDTH}px; width: 100%" src="data:image/png;base64,{data}">'
