# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What a tagged PDF that Chromium wrote says of its pages, and of what is on which of them.

Its objects are plain texts: pages, and elements of its structure, which are those of the HTML. Each
element names the page (`/Pg`) of what it shows, and its children (`/K`).
"""

import re
from collections.abc import Mapping

_OBJECT = re.compile(rb"^(\d+) 0 obj\n(.*?)\nendobj", re.DOTALL | re.MULTILINE)
_PAGE, _FIGURE = re.compile(rb"/Type /Page\b"), re.compile(rb"/S /Figure\b")
_BOX = re.compile(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]")
_ON = re.compile(rb"/Pg (\d+) 0 R")
_CHILDREN = re.compile(rb"/K (?:\[(.*?)\]|(\d+ 0 R))", re.DOTALL)
_POINT = 25.4 / 72
"""In mm."""


def sizes(pdf: bytes) -> list[tuple[int, int]]:
    """The width and the height of each page, in mm."""
    boxes = [_BOX.search(own) for own in _objects(pdf).values() if _PAGE.search(own)]
    return [(round(_POINT * float(box[1])), round(_POINT * float(box[2]))) for box in boxes if box]


def figures(pdf: bytes) -> list[set[int]]:
    """The pages that each figure and picture is on, by the numbers of their objects."""
    objects = _objects(pdf)
    return [_pages(own, objects) for own in objects.values() if _FIGURE.search(own)]


def _objects(pdf: bytes) -> dict[int, bytes]:
    return {int(number): own for number, own in _OBJECT.findall(pdf)}


def _pages(element: bytes, objects: Mapping[int, bytes]) -> set[int]:
    """The pages of an element and of all that is in it."""
    found = {int(page) for page in _ON.findall(element)}
    for several, one in _CHILDREN.findall(element):
        # What is shown by the element itself is a number, or an object with a page of its own.
        for child in re.findall(rb"(\d+) 0 R", re.sub(rb"<<.*?>>", b"", several) or one):
            found |= _pages(objects[int(child)], objects)
    return found
