# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The notebooks of docs/notebooks/, executed for the site.

They are committed without outputs. What is executed is kept in build/notebooks/ until the text of
the notebook changes.
"""

import tempfile
from hashlib import sha256
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

FOLDER = Path(__file__).parent / "notebooks"
KEPT = Path(__file__).parents[1] / "build" / "notebooks"
SECONDS = 300
"""That a cell may take."""
_SOCKETS = Config(KernelManager={"transport_encryption": "auto"})
"""What goes to the kernel by sockets of this machine is encrypted, where ipykernel can."""


def notebooks() -> list[Path]:
    """The notebooks, in the order of their names."""
    return sorted(FOLDER.glob("*.ipynb"))


def executed(path: Path) -> nbformat.NotebookNode:
    """A notebook with its outputs, which a kernel of this Python makes in an empty folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", resources=resources, config=_SOCKETS
        ).execute()
    return notebook


def kept() -> dict[str, str]:
    """The text of each notebook with its outputs, by the name of its file."""
    KEPT.mkdir(parents=True, exist_ok=True)
    found: dict[str, str] = {}
    for path in notebooks():
        place = KEPT / f"{path.stem}-{sha256(path.read_bytes()).hexdigest()[:16]}.ipynb"
        if not place.is_file():
            place.write_text(nbformat.writes(executed(path)), encoding="utf-8")
        found[path.name] = place.read_text(encoding="utf-8")
    return found
