# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The command lines that read what `daqkf compile` wrote: each says what it is for."""

import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import daqkf
from daqkf.cli.main import main
from daqkf.studies.minilm.model import MiniLM

RNG = np.random.default_rng(3)
W, V = (RNG.standard_normal((8, 8)).astype(np.float32) for _ in range(2))
X = RNG.standard_normal((16, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer, a network of two kernels, and inputs of each."""
    folder = tmp_path_factory.mktemp("folders")
    daqkf.compile(W, calibration=X, target="tiny", levels=3).save(folder / "layer")
    nodes = [
        helper.make_node("MatMul", ["x", "up"], ["sums"]),
        helper.make_node("Softmax", ["sums"], ["shares"]),
        helper.make_node("MatMul", ["shares", "down"], ["y"]),
    ]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 8]) for n in "xy"]
    constants = [numpy_helper.from_array(W, "up"), numpy_helper.from_array(V, "down")]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "two.onnx")
    network = daqkf.compile(folder / "two.onnx", calibration={"x": X}, target="tiny", levels=3)
    network.save(folder / "network")
    np.save(folder / "x.npy", X)
    np.savez(folder / "x.npz", x=X)
    return folder


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_command_for_the_other_kind_of_folder_names_the_right_one(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for command, folder, inputs, message in (
        ("run", "layer", "x.npz", "the folder of a layer, which daqkf simulate or"),
        ("simulate", "network", "x.npy", "the folder of a network, which daqkf run or"),
    ):
        call = command, folders / folder, folders / inputs, "-o", tmp_path / "y"
        code, _, err = told(capsys, *call)
        assert code == 1 and message in err and err.count("\n") == 1
    call = "debug", folders / "layer", folders / "network" / "network.mlir", folders / "x.npz"
    code, _, err = told(capsys, *call)
    assert code == 1 and "the folder of a layer, which daqkf simulate or" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("file", "dialect"), [("layer.mlir", "spaq"), ("design.mlir", "rpea and spaq")]
)
def test_compile_of_what_was_compiled_names_the_tools_for_it(
    file: str, dialect: str, folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = folders / "layer" / file
    code, _, err = told(capsys, "compile", path, "-o", tmp_path / "out")
    assert code == 1 and f"{path}: no network, but IR of {dialect}: daqkf-opt runs passes" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        *("demo -o w.npy", "eval -o w.npy", "report w.npy -o w.npy", "bench array --json w.npy/x"),
        *("spaq-profile -o w.npy/t", "compile w.npy -o w.npy", "debug w.npy w.npy w.npy --json /"),
        *("run w.npy w.npy -o w.npy/y", "simulate w.npy w.npy -o w.npy/y", "synth w.npy --json /"),
    ],
)
def test_outputs_are_looked_at_before_any_work(
    arguments: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    np.save("w.npy", np.eye(2))
    told(capsys, *arguments.split())  # This imports what it takes.
    called: set[str] = set()
    sys.setprofile(lambda frame, *_: called.add(frame.f_globals.get("__name__", "")))
    try:
        code, _, err = told(capsys, *arguments.split())
    finally:
        sys.setprofile(None)
    assert code == 1 and err.count("\n") == 1
    assert "w.npy: Not a directory" in err or "Is a directory" in err
    assert "daqkf.cli.main" in called
    rooms = ("daqkf.cli", "daqkf.support", "daqkf.hw_targets", "daqkf.compiler.file_suffixes")
    rooms += ("daqkf.packaging.boards", "daqkf.packaging.choosing")
    assert not [name for name in called if name.startswith("daqkf.") and not name.startswith(rooms)]


@pytest.mark.slow
def test_a_check_says_how_many_kernels_are_equal(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    call = "run", folders / "network", folders / "x.npz", "--check", "-o", tmp_path / "y.npz"
    code, out, _ = told(capsys, *call, "--accelerator", "rtl")
    assert code == 0 and "2 of 2 kernels equal, bit for bit" in out
    (first, _) = daqkf.CompiledNetwork.load(folders / "network").selected()
    _, out, _ = told(capsys, *call, "--accelerator", "rtl", "--only", first)
    assert "1 of 2 kernels equal, bit for bit" in out
    _, out, _ = told(capsys, *call)
    assert "0 of 2 kernels compared" in out
    code, _, err = told(capsys, *call, "--only", "nothing")
    assert code == 1 and f"no kernel's name begins with 'nothing' (known: {first}, " in err


def test_compile_ends_with_the_speed(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    np.save(tmp_path / "w.npy", W)
    files = ((tmp_path / "w.npy", folders / "x.npy"), (folders / "two.onnx", folders / "x.npz"))
    for file, calibration in files:
        call = "compile", file, "--calibration", calibration, "--target", "tiny", "--clock", 50
        code, _, err = told(capsys, *call, "-o", tmp_path / "out")
        line = next(line for line in err.splitlines() if line.startswith("at 50 MHz: "))
        tokens, micros = (
            float(part.replace(",", "")) for part in re.findall(r"([\d.,]+) (?:tokens/s|µs)", line)
        )
        # Two lanes: a tile has two tokens.
        assert code == 0 and tokens * micros == pytest.approx(2e6, rel=0.05)
    with pytest.raises(SystemExit):
        main(["compile", str(tmp_path / "w.npy"), "--clock", "0", "-o", "out"])
    assert "argument --clock: invalid clock value: '0'" in capsys.readouterr().err


def test_texts_become_calibration_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    texts = tmp_path / "texts.txt"
    texts.write_text("Where is the station?\n\nBehind the old bridge, on the left.\n")
    call = "calibrate", "minilm", texts, "-o", tmp_path / "x.npz"
    code, out, _ = told(capsys, *call)
    assert code == 0 and "input_ids [2, 11], attention_mask [2, 11]" in out
    ids, mask = MiniLM.load().tokenize(
        ["Where is the station?", "Behind the old bridge, on the left."]
    )
    with np.load(tmp_path / "x.npz") as found:
        np.testing.assert_array_equal(found["input_ids"], ids)
        np.testing.assert_array_equal(found["attention_mask"], mask)
    tokenizer = tmp_path / "tokenizer.json"
    MiniLM.load().tokenizer.save(str(tokenizer))
    options = "--inputs", "input_ids,token_type_ids", "--max-tokens", 5
    _, out, _ = told(capsys, "calibrate", tokenizer, *call[2:], *options)
    assert "input_ids [2, 5], token_type_ids [2, 5]" in out
    tokenizer.write_text("{}")
    (tmp_path / "empty.txt").write_text(" \n")
    for arguments, message in (
        (("calibrate", tokenizer, *call[2:]), "tokenizer.json: not a tokenizer.json: "),
        (("calibrate", tmp_path / "none.json", *call[2:]), "none.json: No such file or directory"),
        ((*call, "--inputs", "ids"), "unknown input 'ids' (known: input_ids, attention_mask, "),
        ((*call[:2], tmp_path / "empty.txt", *call[3:]), "empty.txt: no lines with text in it"),
        ((*call, "--max-tokens", 0), "--max-tokens must be at least 1, not 0"),
    ):
        code, _, err = told(capsys, *arguments)
        assert code == 1 and message in err and err.count("\n") == 1


@pytest.mark.slow
def test_networks_are_synthesised(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    written = tmp_path / "figures.json"
    code, out, _ = told(capsys, "synth", folders / "network", "--json", written)
    assert code == 0 and "logic" in out and written.is_file()
    call = "synth", folders / "network", "--toggles", folders / "x.npy"
    assert told(capsys, *call)[2] == "daqkf: --toggles is for layers, not for a network\n"
