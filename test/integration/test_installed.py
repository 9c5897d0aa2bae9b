# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The package as its users have it: built, installed in an empty environment, outside the checkout.

These are slow, because they install everything anew.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from documents import blocks

from daqkf.runtime.simulator import FIRST_BUILD
from daqkf.studies.minilm.model import INSTALL_COMMAND

ROOT = Path(__file__).parents[2]

DOCUMENTS = [
    ROOT / "README.md",
    *(
        ROOT / "docs" / f"{name}.md"
        for name in (
            "installation",
            "commands",
            "tutorial",
            "walkthrough",
            "hardware-interface",
            "networks",
        )
    ),
]
"""Those whose commands and code a new user tries. The others have commands for a checkout, and some
that take minutes."""

WHEEL_ONLY = """
import sys
import daqkf, numpy as np
from pathlib import Path
assert Path(daqkf.__file__).is_relative_to(sys.prefix), daqkf.__file__
assert not {"onnx", "matplotlib", "tokenizers", "dask"} & set(sys.modules)
x = np.random.default_rng(0).standard_normal((5, 48))
weights = np.random.default_rng(1).standard_normal((48, 16))
design = daqkf.compile(weights, calibration=x, sparsity=0.5, levels=7, target="tiny")
assert np.array_equal(design.simulate(x), design.reference(x))
design.save("layer")
np.save("w.npy", np.eye(4))
np.save("x.npy", x)
Path("m.onnx").write_bytes(b"")
Path("m.gguf").write_bytes(b"")
"""

ABSENT = {
    "onnx": "daqkf compile m.onnx -o out",
    "plot": "daqkf report w.npy -o out",
    "report": "daqkf report w.npy -o out.html",
    "synth": "daqkf synth layer --fabric ecp5",
    "board": "daqkf synth layer --board ulx3s-85f",
    "formal": "daqkf prove",
    "completion": "daqkf completion bash",
    "lm": "daqkf compile m.gguf -o out",
    "lsp": "daqkf-lsp",
}


class Environment:
    """A virtual environment, and commands in it that see no checkout."""

    def __init__(self, python: str, folder: Path):
        self.folder = folder
        subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
        self._bin = folder / "venv" / "bin"
        foreign = ("PYTHON", "DAQKF", "VIRTUAL_ENV", "COV")
        self._variables = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
        self._variables |= {
            "PATH": f"{self._bin}{os.pathsep}{os.environ['PATH']}",
            "DAQKF_CACHE": str(folder / "cache"),
        }

    def call(self, command: str, code: int = 0, stdin: str = "", place: str = "work"):
        """Run a command of the shell, and check its exit code."""
        work = self.folder / place
        work.mkdir(exist_ok=True)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=work,
            env=self._variables,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done

    def install(self, what: str) -> None:
        """Install packages in the versions of constraints.txt."""
        self.call(f"pip install -q --disable-pip-version-check -c {ROOT}/constraints.txt {what}")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that is made of the sdist, which is made of the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    assert len(list(folder.glob("*.tar.gz"))) == 1
    (found,) = folder.glob("*.whl")
    return found


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_package(wheel: Path):
    tracked = subprocess.run(
        ["git", "ls-files", "hw_targets", "dialects", "passes", "lowering", "python/daqkf"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = set()
    for name in tracked.stdout.splitlines():
        if not (ROOT / name).is_symlink() and not name.endswith("RATIONALE.md"):
            inside = name.removeprefix("python/")
            expected.add(inside if name != inside else f"daqkf/{name}")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert expected - names == set()
    assert [name for name in names if name.endswith("licenses/LICENSE")]


@pytest.mark.slow
@pytest.mark.parametrize("python", ["python3.13", "python3.14"])
def test_an_empty_environment_runs_the_wheel_and_the_documents(
    python: str, wheel: Path, tmp_path: Path
):
    if f"python{sys.version_info.major}.{sys.version_info.minor}" == python:
        python = sys.executable
    elif shutil.which(python) is None:
        pytest.skip(f"there is no {python}")
    environment = Environment(python, tmp_path)
    environment.install(f"'{wheel}'")
    version = environment.call("daqkf --version").stdout
    assert re.match(r"daqkf \d+\.\d+\.\d+\nxDSL \d", version)
    assert "yosys is missing: pip install 'daqkf[synth]'\n" in version
    assert "spaq-quantize" in environment.call("daqkf-opt --help").stdout
    first = environment.call("python -", stdin=WHEEL_ONLY)
    assert FIRST_BUILD.format(folder=tmp_path / "cache") in first.stderr
    again = environment.call("daqkf simulate layer x.npy -o y.npy")
    assert "building" not in again.stderr
    for extra, command in ABSENT.items():
        refused = environment.call(command, code=1).stderr
        assert refused.count("\n") == 1, refused
        assert f"is missing: pip install 'daqkf[{extra}]'" in refused

    environment.install(f"'{wheel}[all]'")
    environment.call("pip check")
    environment.call(INSTALL_COMMAND)
    for document in DOCUMENTS:
        assert {"python", "sh"} & {language for language, _ in blocks(document)}, document
        script = ROOT / "test" / "documents.py"
        said = environment.call(f"python -I '{script}' '{document}'", place=document.stem).stdout
        if document.name == "README.md":
            assert_the_demo_says_what_the_readme_says(said)


def assert_the_demo_says_what_the_readme_says(said: str):
    """The README's figure is one of those in the demo's table."""
    text = " ".join((ROOT / "README.md").read_text().split())
    (figure,) = re.findall(r"needs ([\d.]+) times fewer cycles than a dense array", text)
    (row,) = [line for line in said.splitlines() if "dense / ours" in line]
    assert figure in {f"{float(ratio):.0f}" for ratio in re.findall(r"([\d.]+)x", row)}
