# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Operations of the host in C: they compile, and give what the interpreter gives."""

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import driver_bench
import numpy as np
import pytest
from nn_networks import results
from numpy.typing import NDArray

from daqkf.dialects.interpreting import entry
from daqkf.hosts.c_network import c_host
from daqkf.hosts.operations import ELEMENTS, WRITERS
from daqkf.runtime import tools
from daqkf.support.errors import DaqkfError
from daqkf.support.ir import make_context, parse_module

STUB = """#include "daqkf_uio.h"

static uint8_t memory[1 << 16];
static struct daqkf_mapping mapping = {NULL, memory, 0, sizeof(memory)};

enum daqkf_result daqkf_uio_open(struct daqkf_uio *uio, const struct daqkf_uio_place *place,
                                 uint32_t fingerprint) {
  (void)place, (void)fingerprint;
  daqkf_map(&uio->bus, &mapping);
  uio->device.bus = &uio->bus;
  return DAQKF_OK;
}

void daqkf_uio_close(struct daqkf_uio *uio) { (void)uio; }
"""
"""A device that nothing runs on."""

OPERATIONS = """
  %two = nn.constant dense<[[0.5, 2.0, -1.0, 3.0]]> : tensor<1x4xf32>
  %words = nn.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %begin = nn.constant dense<[1, -3]> : tensor<2xi64>
  %end = nn.constant dense<[3, 4]> : tensor<2xi64>
  %shape = nn.constant dense<[6, 2]> : tensor<2xi64>
  %wide = nn.constant dense<[2, 3, 4]> : tensor<3xi64>
  %0 = nn.gather %words, %i {axis = 0 : i64}
    : (tensor<3x2xf32>, tensor<2x3xi64>) -> tensor<2x3x2xf32>
  %1 = nn.gather %x, %i {axis = 1 : i64} : (tensor<3x4xf32>, tensor<2x3xi64>) -> tensor<3x2x3xf32>
  %2 = nn.slice %x, %begin, %end {axes = array<i64: 0, 1>, steps = array<i64: 1, 2>}
    : (tensor<3x4xf32>, tensor<2xi64>, tensor<2xi64>) -> tensor<?x?xf32>
  %3 = nn.transpose %0 {axes = array<i64: 2, 0, 1>} : (tensor<2x3x2xf32>) -> tensor<2x2x3xf32>
  %4 = nn.concat %x, %two {axis = 0 : i64} : (tensor<3x4xf32>, tensor<1x4xf32>) -> tensor<4x4xf32>
  %5 = nn.concat %x, %x {axis = 1 : i64} : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x8xf32>
  %6 = nn.reshape %x, %shape : (tensor<3x4xf32>, tensor<2xi64>) -> tensor<6x2xf32>
  %7 = nn.unsqueeze %x {axes = array<i64: 0, 2>} : (tensor<3x4xf32>) -> tensor<1x3x1x4xf32>
  %8 = nn.squeeze %7 {axes = array<i64: 0, 2>} : (tensor<1x3x1x4xf32>) -> tensor<3x4xf32>
  %9 = nn.expand %x, %wide : (tensor<3x4xf32>, tensor<3xi64>) -> tensor<2x3x4xf32>
  %10 = nn.cast %x : (tensor<3x4xf32>) -> tensor<3x4xi64>
  %11 = nn.cast %i : (tensor<2x3xi64>) -> tensor<2x3xf32>
  %g = nn.constant dense<[1.0, 0.5, 2.0, -1.0]> : tensor<4xf32>
  %12 = nn.layer_norm %x, %g, %g {epsilon = 1.0e-3 : f64}
    : (tensor<3x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<3x4xf32>
  %13 = nn.rms_norm %x, %g {epsilon = 1.0e-3 : f64}
    : (tensor<3x4xf32>, tensor<4xf32>) -> tensor<3x4xf32>
"""
UNARY = ("neg", "abs", "sqrt", "exp", "reciprocal")
COMPARED = ("equal", "greater", "greater_equal", "less", "less_equal")
FLOATS = "tensor<3x4xf32>"


def functions() -> tuple[str, list[tuple[str, str]]]:
    """Functions of elements, and the names and types of their results."""
    lines, found = list[str](), list[tuple[str, str]]()

    def add(kind: str, inputs: str, types: str, result: str) -> None:
        name = f"%f{len(found)}"
        lines.append(f"  {name} = nn.elementwise {kind} {inputs} : ({types}) -> {result}")
        found.append((name, result))

    both, bits = f"{FLOATS}, tensor<1x4xf32>", "tensor<3x4xi1>"
    for kind in UNARY:
        add(kind, "%p" if kind in ("sqrt", "reciprocal") else "%x", FLOATS, FLOATS)
    for kind in ("add", "sub", "mul", "div", "max", "min"):
        add(kind, "%x, %two", both, FLOATS)
    add("add", "%i, %i", "tensor<2x3xi64>, tensor<2x3xi64>", "tensor<2x3xi64>")
    for kind in COMPARED:
        add(kind, "%x, %two", both, bits)
    first, last = (name for name, kind in (found[-4], found[-1]))
    for kind in ("and", "or"):
        add(kind, f"{first}, {last}", f"{bits}, {bits}", bits)
    add("not", first, bits, bits)
    add("where", f"{first}, %x, %two", f"{bits}, {both}", FLOATS)
    return "\n".join(lines), found


def network(text: str, named: list[tuple[str, str]]) -> Any:
    """A network of these operations alone, which the host runs; %p is above 0."""
    names, kinds = zip(*named, strict=True)
    module = parse_module(
        make_context(),
        f"func.func @main(%x: {FLOATS}, %p: {FLOATS}, %i: tensor<2x3xi64>) -> "
        f"({', '.join(kinds)}) {{\n{text}\n"
        f"  func.return {', '.join(names)} : {', '.join(kinds)}\n}}\n",
        "test",
    )
    return SimpleNamespace(
        network=module,
        config=driver_bench.network().config,
        inputs=["x", "p", "i"],
        outputs=[name for name, _ in named],
        kernels={},
        stages=[],
    )


X = {
    "x": np.random.default_rng(2).standard_normal((3, 4)).astype(np.float32) * 3,
    "p": np.random.default_rng(3).uniform(0.1, 4, (3, 4)).astype(np.float32),
    "i": np.array([[0, 2, -1], [1, 1, -3]], np.int64),
}


def run(found: Any, x: dict[str, NDArray[Any]], folder: Path) -> subprocess.CompletedProcess[str]:
    for name, data in c_host(found, X).items():
        (folder / name).write_bytes(data)
    (folder / "daqkf_uio.c").write_text(STUB)
    sources = [path.name for path in folder.glob("*.c")]
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined,address"]
    command = [*tools.c_compiler(), *flags, *sources, "-o", "network", "-lm"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    for number, array in enumerate(x.values()):
        array.tofile(folder / f"x{number}.raw")
    names = [f"x{number}.raw" for number in range(len(x))]
    names += [f"y{number}.raw" for number in range(len(found.outputs))]
    command = [folder / "network", "-", "-", "network.bin", *names]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_operations_give_what_the_interpreter_gives(tmp_path: Path):
    text, named = functions()
    named += re.findall(r"(%\d+) = .*?-> (tensor<\S*>)", OPERATIONS, re.DOTALL)
    found = network(OPERATIONS + text, named)
    kinds = {type(op) for op in entry(found.network).body.block.ops}
    assert set(WRITERS) <= kinds
    assert all(f"nn.elementwise {kind.value} " in text for kind in ELEMENTS)
    # Other inputs than those that the host was made with.
    x = {"x": X["x"][::-1].copy(), "p": X["p"][:, ::-1].copy(), "i": X["i"][::-1].copy()}
    done = run(found, x, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for number, expected in enumerate(results(found.network, *x.values())):
        y = np.fromfile(tmp_path / f"y{number}.raw", expected.dtype).reshape(expected.shape)
        np.testing.assert_allclose(y, expected, rtol=1e-6, err_msg=named[number][0])


def test_indices_beyond_the_rows_are_told(tmp_path: Path):
    text = OPERATIONS[: OPERATIONS.index("  %1 =")]
    done = run(network(text, [("%0", "tensor<2x3x2xf32>")]), X | {"i": X["i"] + 3}, tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("an address or a count is one that a device would refuse\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"nn.elementwise erf %x : ({FLOATS}) -> {FLOATS}", "do not have the function erf"),
        (f"nn.softmax %x {{axis = -1 : i64}} : ({FLOATS}) -> {FLOATS}", "operation nn.softmax"),
    ],
)
def test_operations_without_c_are_told(line: str, message: str):
    with pytest.raises(DaqkfError, match=f"hosts in C do not have .*{message.split()[-1]}"):
        c_host(network(f"  %y = {line}", [("%y", FLOATS)]), X)
