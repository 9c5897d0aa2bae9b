# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The documents as a site, and its notebooks."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import notebook_outputs
import pytest
import site_sources

pytestmark = pytest.mark.filterwarnings("ignore:'myst_parser")  # of Sphinx 11, to MyST's authors

LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src")}
"""What a browser fetches with a page, as opposed to what a reader may follow."""


class _Page(HTMLParser):
    """What a page loads."""

    def __init__(self):
        super().__init__()
        self.loads: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [(tag, value or "") for name, value in attrs if (tag, name) in LOADED]


def loads(page: Path) -> list[tuple[str, str]]:
    parser = _Page()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.loads


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, whose notebooks have not been executed."""
    folder = tmp_path_factory.mktemp("site")
    notebooks = {path.name: path.read_text() for path in notebook_outputs.notebooks()}
    site_sources.write_sources(folder / "sources", notebooks)
    assert site_sources.build(folder / "sources", folder / "site") == 0
    return folder / "site"


def test_the_site_loads_nothing_from_elsewhere(site: Path):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 100
    for page in pages:
        for tag, place in loads(page):
            assert not re.match(r"\w+:|//", place) or place.startswith("data:"), (page, tag, place)
            path = place.partition("?")[0].partition("#")[0]
            assert path.startswith("data:") or (page.parent / path).exists(), (page, place)
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.findall(r"""(?:@import|url\()\s*["']?(?:https?:)?//[^)]*""", text), style


def test_the_first_page_is_the_readme(site: Path):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert ("img", "_images/array.svg") in loads(site / "index.html")
    for pages in site_sources.NAVIGATION.values():
        for page in pages:
            assert f'href="{page}.html"' in text, page


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("# A\n\n[b](b.md), [c](b.md#part), [d](#a)\n", True),
        ("# A\n\n[b](c.md)\n", False),
        ("# A\n\n[b](b.md#nothing)\n", False),
        ("# A\n\n[b](#nothing)\n", False),
        ("# A\n\n![b](nothing.png)\n", False),
    ],
)
def test_a_wrong_link_is_an_error(text: str, right: bool, tmp_path: Path):
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "index.md").write_text(f"{text}\n```{{toctree}}\n:hidden:\n\nb\n```\n")
    (sources / "b.md").write_text("# B\n\n## Part\n")
    assert (site_sources.build(sources, tmp_path / "site") == 0) == right


def test_a_page_that_no_chapter_has_is_an_error(tmp_path: Path):
    sources = tmp_path / "sources"
    sources.mkdir()
    for name in ("index", "other"):
        (sources / f"{name}.md").write_text("# A\n")
    assert site_sources.build(sources, tmp_path / "site") != 0


def test_links_out_of_the_documents_become_pages():
    text = "[a](../test/documents.py) [b](networks.md#x) [c](../README.md) ```\n[d](https://x.y)"
    found = site_sources.rewritten("docs/tutorial.md", text)
    assert found == (
        "[a](source/test/documents.py.md) [b](networks.md#x) [c](index.md) ```\n[d](https://x.y)"
    )


NOTEBOOKS = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if "language" in path.stem else [])
    for path in notebook_outputs.notebooks()
]
"""The language model takes a minute, most of it to train."""


@pytest.mark.parametrize("path", notebook_outputs.notebooks(), ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs(path: Path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def _texts(notebook: Any) -> Iterator[str]:
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert output.output_type != "error"
            yield output.get("text") or output.data.get("text/plain", "")


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_notebooks_run(path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    notebook = notebook_outputs.executed(path)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    assert "".join(_texts(notebook))
