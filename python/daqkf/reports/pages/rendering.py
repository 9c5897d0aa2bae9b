# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Make the HTML of a page: one file that needs no other and asks for nothing from any network.

Its content security policy forbids every request, and every script and style but those of ours, by
their hashes: a text that comes from a file and got past the escaping could do nothing.
"""

import hashlib
import re
from base64 import b64encode
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np

from daqkf.dialects.errors import from_extra
from daqkf.reports.pages import charts
from daqkf.reports.pages.blocks import Heat, Page, Share
from daqkf.reports.pages.layout import layout

with from_extra("report"):
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

_HERE = Path(__file__).parent
_MAP = "cividis"
_SHORT = 14
"""Letters of a cell, at most, that stay in one line."""

_PARTS = re.compile(r"(?<=[._/])(?=\w)")


def render(page: Page) -> str:
    """The HTML of a page.

    Raises:
        DaqkfError: the extra `report` is not installed.
    """
    style, script = ((_HERE / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            style=Markup(style),
            script=Markup(script),
            policy=_policy(style, script),
        )
    )


def _policy(style: str, script: str) -> str:
    """What the page may do: show pictures that are in it, and run what has these hashes."""
    own = {
        kind: f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for kind, text in (("style", style), ("script", script))
    }
    sources = {"default": "'none'", "img": "data:", "style": own["style"], "script": own["script"]}
    parts = [f"{kind}-src {allowed}" for kind, allowed in sources.items()]
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'"])


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(_HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "picture": picture,
        "short": charts.number,
        "cell": cell,
        "breaking": breaking,
    }
    environment.globals |= {
        "plane": charts.plane,
        "bars": charts.bars,
        "spans": charts.spans,
        "layout": layout,
        "SHORT": _SHORT,
        "WIDTH": charts.WIDTH,
        "HEIGHT": charts.HEIGHT,
        "LEFT": charts.LEFT,
        "RIGHT": charts.RIGHT,
        "TOP": charts.TOP,
        "BOTTOM": charts.BOTTOM,
    }
    return environment


def cell(value: object) -> str:
    """A value as a table shows it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        return charts.number(float(value)) if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, Share):
        return value.text
    return str(value)


def breaking(name: str) -> Markup:
    """A name, escaped, whose lines may end behind its points, slashes and underlines."""
    return Markup("<wbr>").join(_PARTS.split(name))


def picture(heat: Heat) -> str:
    """A matrix as the data of a PNG, a pixel for each number."""
    with from_extra("report"):
        from matplotlib import colormaps
        from matplotlib.image import imsave

    data = BytesIO()
    imsave(data, heat.values, vmin=heat.low, vmax=heat.high, cmap=colormaps[_MAP], format="png")
    return f"data:image/png;base64,{b64encode(data.getvalue()).decode()}"
