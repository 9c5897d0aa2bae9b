# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""`daqkf package`: what the command writes, replaces and refuses."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_vivado import run_vivado

import daqkf
from daqkf.cli.main import main
from daqkf.packaging.choosing import contents
from daqkf.synthesis.running import run_yosys


@pytest.fixture(scope="module")
def design(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("design") / "layer"
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16, 8))
    daqkf.compile(rng.standard_normal((8, 8)), calibration=x, target="tiny").save(folder)
    return folder


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in ("package", *arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_soc_for_a_board_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16, 8))
    layer = daqkf.compile(rng.standard_normal((8, 8)), calibration=x, target="ulx3s")
    layer.save(tmp_path / "layer")
    code, out, _ = told(capsys, tmp_path / "layer", "--board", "ulx3s-85f", "-o", tmp_path / "soc")
    assert code == 0 and "make load" in out
    script = (tmp_path / "soc" / "soc.ys").read_text()
    reading, _ = script.split("synth_ecp5")
    # It reads the cells of an ECP5, and checks that each module is there.
    check = "synth_ecp5 -top daqkf_soc -run begin:coarse"
    run_yosys([*reading.splitlines(), check], tmp_path / "soc")
    dry = ["make", "-n", "load"]
    steps = subprocess.run(
        dry, cwd=tmp_path / "soc", capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert [step.split()[0] for step in steps] == [
        *("yosys", "nextpnr-ecp5", "ecppack", "openFPGALoader")
    ]


def test_the_command_writes_a_package(
    design: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    code, out, _ = told(capsys, design, "--vivado", "kv260", "-o", tmp_path / "out")
    assert code == 0 and "build.tcl" in out
    run_vivado(tmp_path / "out" / "build.tcl")
    facts = json.loads((tmp_path / "out" / "package.json").read_text())
    assert facts["purpose"] == "vivado" and "ip/component.xml" in facts["files"]
    # A package of another kind, where no folder is named.
    code, out, _ = told(capsys, design, "--core")
    assert code == 0 and (design.parent / "layer-core" / "daqkf.core").exists()


def test_a_network_is_packaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rng = np.random.default_rng(0)
    up, down = (rng.standard_normal((8, 8)).astype(np.float32) for _ in range(2))
    nodes = [
        helper.make_node("MatMul", ["x", "up"], ["sums"]),
        helper.make_node("Softmax", ["sums"], ["shares"]),
        helper.make_node("MatMul", ["shares", "down"], ["y"]),
    ]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 8]) for n in "xy"]
    constants = [numpy_helper.from_array(up, "up"), numpy_helper.from_array(down, "down")]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "two.onnx")
    x = rng.standard_normal((16, 8)).astype(np.float32)
    daqkf.compile(tmp_path / "two.onnx", calibration={"x": x}, target="tiny").save(tmp_path / "net")
    assert told(capsys, tmp_path / "net", "--vivado", "pynq-z2")[0] == 0
    run_vivado(tmp_path / "net-pynq-z2" / "build.tcl")


def test_names_do_not_leave_the_comments_that_they_are_in():
    """The name of a target's file is data, and a comment of Tcl goes on behind a backslash."""

    class Named:
        figures: Mapping[str, str] = {"array": "a\nexit 1; [exec rm]\\"}

    found = contents(Named())  # pyright: ignore[reportArgumentType]
    assert "\n" not in found and "\\" not in found


def test_a_package_replaces_its_own_files_alone(
    design: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert told(capsys, design, "--vivado", "u280", "-o", out)[0] == 0
    assert (out / "daqkf_interrupt_synchronizer.v").exists()
    assert told(capsys, design, "--vivado", "kv260", "-o", out)[0] == 0
    assert not (out / "daqkf_interrupt_synchronizer.v").exists()
    before = {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    (out / "design.tcl").write_text("# changed by hand\n")
    code, _, err = told(capsys, design, "--vivado", "kv260", "-o", out)
    assert code == 1 and err.count("\n") == 1 and f"{out / 'design.tcl'}: it is there" in err
    del before[out / "design.tcl"]
    assert all(path.read_bytes() == data for path, data in before.items())
    other = tmp_path / "other"
    other.mkdir()
    (other / "build.tcl").write_text("mine\n")
    code, _, err = told(capsys, design, "--vivado", "kv260", "-o", other)
    assert code == 1 and "build.tcl: it is there" in err
    assert (other / "build.tcl").read_text() == "mine\n"
    # Nor are files of the compiled folder replaced.
    code, _, err = told(capsys, design, "--core", "-o", design)
    assert code == 1 and "it is there" in err
    daqkf.Design.load(design)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--vivado", "kv261"), "unknown BOARD 'kv261' for --vivado (known: "),
        (("--c",), "--c is for networks, not for a layer"),
        (("--board", "ulx3s-85f"), "compile for a target that has queue = true"),
        (("--board", "orangecrab-25f"), "unknown BOARD 'orangecrab-25f' for --board (known: "),
        (("--vivado", "kv260", "--base", "0x1000"), "--base is for --c, not for --vivado"),
        (("--core", "--clock", "100"), "--clock is for --board or --vivado or --quartus, not"),
        (("--vivado", "kv260", "--clock", "1e3"), "makes clocks of 6.25 to 775 MHz for the array"),
    ],
)
def test_what_no_package_is_for_is_refused(
    arguments: tuple[str, ...],
    message: str,
    design: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    code, _, err = told(capsys, design, *arguments, "-o", tmp_path / "out")
    assert code == 1 and message in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_jinja_is_asked_for(
    design: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    code, _, err = told(capsys, design, "--core", "-o", tmp_path / "out")
    assert code == 1 and "jinja2 is missing: pip install 'daqkf[package]'" in err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for folder in (tmp_path, tmp_path / "nothing"):
        code, _, err = told(capsys, folder, "--core", "-o", tmp_path / "out")
        assert code == 1 and str(folder) in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()
