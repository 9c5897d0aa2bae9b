# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The documents as a site: `make docs` calls this.

    python docs/site_sources.py     # writes build/site

Sphinx reads a folder that is made here of README.md, docs/ and the executed notebooks. Files
outside of docs/ that a document links to, such as tests, become pages of the site, so that no link
leaves it. A link to a page or a heading that is not there is an error, and so is a page that
`NAVIGATION` does not name. Pages load nothing from the network.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import notebook_outputs

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SOURCES, SITE = ROOT / "build" / "site-sources", ROOT / "build" / "site"

RENAMED = {"README.md": "index.md", "docs/README.md": "documents.md"}
"""Files of the repository that have another name in the site."""

NAVIGATION: Mapping[str, tuple[str, ...]] = {
    "Start": ("installation", "tutorial"),
    "Guides": (
        "walkthrough",
        "networks",
        "language-models",
        "smallest-language-model",
        "planning",
        "exploring",
        "report",
        "boards",
        "drivers",
        "packages",
        "hardware-interface",
    ),
    "Notebooks": ("notebooks/layer", "notebooks/network", "notebooks/language_model"),
    "Design": ("architecture", "streams", "source/CONTRIBUTING", "source/CHANGELOG"),
    "Reference": ("commands", "reference/README", "operators", "registers", "features"),
    "Benchmarks": ("paper", "peers", "array", "accuracy", "device", "language-speed"),
    "Trust": ("verification", "security"),
    "Words": ("glossary", "documents"),
}
"""The pages by chapter, in the order in which a stranger reads them; README comes before."""

_LINK = re.compile(r"(?<=\]\()(?!\w+:)([^()#\s]+)(?=[)#])")
_FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_ORPHAN = "---\norphan: true\n---\n\n"
"""What a page begins with that no chapter has."""
_LANGUAGES = {".py": "python", ".toml": "toml", ".cpp": "cpp", ".mlir": "mlir"}


def _uri(path: str) -> str:
    """Where the site has a file of the repository, whose path this is."""
    if path in RENAMED:
        return RENAMED[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"source/{path}" + ("" if path.endswith(".md") else ".md")


def _links(origin: str, markdown: str) -> Iterator[tuple[re.Match[str], str]]:
    """Links to files that exist, each with the path of its file in the repository."""
    fences = [match.span() for match in _FENCE.finditer(markdown)]
    for match in _LINK.finditer(markdown):
        if any(start <= match.start() < end for start, end in fences):
            continue
        path = os.path.normpath(PurePosixPath(origin).parent / match[0])
        if not path.startswith(("..", "/")) and (ROOT / path).is_file():
            yield match, path


def rewritten(origin: str, markdown: str) -> str:
    """The text of a page, with links to where the site has the files.

    Parameters:
        origin: the path of the file in the repository
        markdown: its text
    """
    folder = PurePosixPath(_uri(origin)).parent
    parts: list[str] = []
    end = 0
    for match, path in _links(origin, markdown):
        parts += [markdown[end : match.start()], os.path.relpath(_uri(path), folder)]
        end = match.end()
    return "".join([*parts, markdown[end:]])


def _listing(path: str) -> str:
    """A page with the text of a file."""
    text = (ROOT / path).read_text(encoding="utf-8")
    fence = max(["```", *(run + "`" for run in re.findall("`{3,}", text))], key=len)
    language = _LANGUAGES.get(PurePosixPath(path).suffix, "text")
    return f"{_ORPHAN}# `{path}`\n\n{fence}{language}\n{text}\n{fence}\n"


def _linked(origins: list[str]) -> list[str]:
    """Files outside of docs/ that documents link to, and those that these link to."""
    found = dict.fromkeys(["CONTRIBUTING.md", "CHANGELOG.md"])
    waiting = [*origins, *found]
    while waiting:
        origin = waiting.pop()
        for _, path in _links(origin, (ROOT / origin).read_text(encoding="utf-8")):
            if not path.startswith("docs/") and path not in RENAMED and path not in found:
                found[path] = None
                if path.endswith(".md"):
                    waiting.append(path)
    return list(found)


def _tree(caption: str, pages: tuple[str, ...]) -> str:
    """A chapter of the navigation."""
    options = f":hidden:\n:caption: {caption}\n" if caption else ":hidden:\n"
    listed = "\n".join(pages)
    return f"\n```{{toctree}}\n{options}\n{listed}\n```\n"


def _named(uri: str) -> bool:
    page = uri.removesuffix(".md")
    generated = page.startswith("reference/")
    return page == "index" or generated or any(page in pages for pages in NAVIGATION.values())


def pages() -> dict[str, str]:
    """The text of every page that is not a notebook, by its path in the site."""
    documents = [path.relative_to(ROOT).as_posix() for path in sorted(DOCS.rglob("*.md"))]
    found: dict[str, str] = {}
    for path in dict.fromkeys(["README.md", *documents, *_linked(["README.md", *documents])]):
        uri = _uri(path)
        if not path.endswith(".md"):
            found[uri] = _listing(path)
            continue
        text = rewritten(path, (ROOT / path).read_text(encoding="utf-8"))
        outside = uri.startswith("source/") and not _named(uri)
        found[uri] = f"{_ORPHAN}{text}" if outside else text
    found["index.md"] += "".join(_tree(*chapter) for chapter in NAVIGATION.items())
    for kind in ("dialects", "passes", "hardware"):
        names = sorted(uri for uri in found if uri.startswith(f"reference/{kind}/"))
        below = tuple(name.removeprefix("reference/") for name in names)
        found["reference/README.md"] += _tree(kind.title(), below)
    return found


def write_sources(folder: Path, notebooks: Mapping[str, str]) -> None:
    """Write what Sphinx reads, in place of what the folder had.

    Parameters:
        folder: for the sources
        notebooks: the text of each notebook by the name of its file
    """
    shutil.rmtree(folder, ignore_errors=True)
    texts = pages() | {f"notebooks/{name}": text for name, text in notebooks.items()}
    for uri, text in texts.items():
        (folder / uri).parent.mkdir(parents=True, exist_ok=True)
        (folder / uri).write_text(text, encoding="utf-8")
    for picture in (*DOCS.glob("*.svg"), *DOCS.glob("*.png")):
        shutil.copy(picture, folder)


def build(sources: Path, site: Path) -> int:
    """Let Sphinx make the site, with warnings as errors; returns its exit code."""
    from sphinx.cmd.build import build_main

    return build_main(["-q", "-W", "--keep-going", "-E", "-c", str(DOCS), str(sources), str(site)])


def main() -> int:
    """Execute notebooks that have changed, and make the site; returns the exit code."""
    write_sources(SOURCES, notebook_outputs.kept())
    shutil.rmtree(SITE, ignore_errors=True)
    code = build(SOURCES, SITE)
    if code == 0:
        sys.stdout.write(f"{SITE / 'index.html'}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
