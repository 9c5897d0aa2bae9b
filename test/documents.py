# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Run the commands and the code of a document, one after another, as its reader would.

python test/documents.py DOCUMENT    # in the current folder, with the `python` of the PATH
"""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path: Path) -> list[tuple[str, str]]:
    """The blocks of a document, each with its language."""
    return _BLOCK.findall(path.read_text(encoding="utf-8"))


def run(path: Path) -> None:
    """Run the blocks in Python and in the shell, in the current folder.

    All Python code of a document has the same variables. Lines with `pip install` are left out, as
    what they install is for the caller to choose.

    Raises:
        Exception: what the code raises; CalledProcessError: a command failed.
    """
    scope: dict[str, Any] = {"__name__": "__main__"}
    for language, text in blocks(path):
        began = time.monotonic()
        if language == "python":
            exec(compile(text, path.name, "exec"), scope)
        elif language == "sh":
            lines = [line for line in text.splitlines() if not line.startswith("pip install")]
            subprocess.run(["bash", "-e", "-o", "pipefail", "-c", "\n".join(lines)], check=True)
        else:
            continue
        print(f"{path.name}, {language}: {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
