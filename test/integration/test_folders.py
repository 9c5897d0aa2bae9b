# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Folders of designs and networks are data: damage shows, and nothing in them runs by itself."""

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import daqkf
from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.compiler.folder import write_folder
from daqkf.passes.array_files import archive, load_archive
from daqkf.passes.files import replacing, write_atomically
from daqkf.runtime.accelerators import Resumable
from daqkf.runtime.simulator import Job, build

RNG = np.random.default_rng(9)
W = RNG.standard_normal((12, 6))
X = RNG.standard_normal((5, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def design() -> daqkf.Design:
    return daqkf.compile(W, sparsity=0.5, levels="codebook-7", calibration=X, target="tiny")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> CompiledNetwork:
    path = tmp_path_factory.mktemp("network") / "w.mtx"
    lines = [f"{k + 1} {n + 1} {value}" for (k, n), value in np.ndenumerate(W)]
    path.write_text("\n".join(["%%MatrixMarket matrix coordinate real general", "12 6 72", *lines]))
    found = daqkf.compile(path, calibration={"x": X}, target="tiny")
    assert isinstance(found, CompiledNetwork)
    return found


def facts(folder: Path) -> Path:
    return next(path for path in folder.iterdir() if path.suffix == ".json")


def edited(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def appended(name: str) -> Callable[[Path], None]:
    def append(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            file.write(b"// more\n")

    return append


def listed(name: str) -> Callable[[Path], None]:
    return lambda folder: edited(
        facts(folder), files=json.loads(facts(folder).read_text())["files"] | {name: "0" * 64}
    )


HASH = "not as it was saved: its hash is not that of the manifest"
CHANGES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "RTL": (appended("rtl/daqkf_array.sv"), "rtl/daqkf_array.sv", HASH),
    "list": (appended("rtl/filelist.f"), "rtl/filelist.f", HASH),
    "registers": (appended("daqkf_registers.h"), "daqkf_registers.h", HASH),
    "gone": (
        lambda folder: (folder / "rtl" / "system.f").unlink(),
        "rtl/system.f",
        "No such file or directory",
    ),
    "path": (listed("../../evil.sv"), "", "'files' has '../../evil.sv', which is no plain name"),
    "absolute": (listed("/etc/passwd"), "", "'files' has '/etc/passwd', which is no plain name"),
    "hidden": (listed("rtl/.."), "", "'files' has 'rtl/..', which is no plain name"),
    "types": (lambda folder: edited(facts(folder), files=[]), "", "'files' must be an object"),
    "hash": (
        lambda folder: edited(facts(folder), files={"program.bin": 3}),
        "",
        "'files.program.bin' must be a text, not an integer",
    ),
    "target": (lambda folder: edited(facts(folder), target=7), "", "'target' must be a text"),
    "array": (
        lambda folder: edited(facts(folder), fingerprint="0x00000000"),
        "",
        "of another array than the IR beside it",
    ),
    "text": (lambda folder: facts(folder).write_bytes(b"\xff"), "", "not a text file"),
    "JSON": (lambda folder: facts(folder).write_text('{"a": '), "", "not JSON: Expecting value"),
    "list of facts": (lambda folder: facts(folder).write_text("[]"), "", "must be an object, not"),
    "nothing": (
        lambda folder: facts(folder).unlink(),
        "",
        "No such file or directory",
    ),
}


@pytest.mark.parametrize("kind", ["design", "network"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_is_refused(
    tmp_path: Path, design: daqkf.Design, network: CompiledNetwork, kind: str, change: str
):
    saved = {"design": design, "network": network}[kind]
    saved.save(tmp_path)
    manifest = facts(tmp_path)
    make, name, message = CHANGES[change]
    make(tmp_path)
    with pytest.raises(daqkf.DaqkfError, match=r"^[^\n]*$") as caught:
        type(saved).load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / (name or manifest.name)}: {message}")


def test_fields_of_a_design_have_types(tmp_path: Path, design: daqkf.Design):
    design.save(tmp_path)
    path = tmp_path / "design.json"
    whole = path.read_text()
    for levels, message in (
        ([], "'levels' must be an object, not a list"),
        ({"kind": 3}, "'levels.kind' must be a text, not an integer"),
        ({"kind": "codebook"}, "lacks 'levels.magnitudes'"),
        ({"kind": "codebook", "magnitudes": 1.5}, "'levels.magnitudes' must be an integer, not a"),
        ({"kind": "codebook", "magnitudes": 7, "maximum": None}, "'levels.maximum' must be an int"),
    ):
        edited(path, levels=levels)
        with pytest.raises(daqkf.DaqkfError) as caught:
            daqkf.Design.load(tmp_path)
        assert str(caught.value).startswith(f"{path}: {message}")
        path.write_text(whole)


@pytest.mark.slow
def test_rtl_of_a_folder_is_never_used(tmp_path: Path, design: daqkf.Design):
    """Even with hashes that fit: who writes a folder writes its manifest, too."""
    design.save(tmp_path)
    contents = {
        str(path.relative_to(tmp_path)): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file() and path.suffix != ".json"
    }
    contents["rtl/daqkf_array.sv"] = (
        b'module daqkf_array; initial $system("touch pwned"); endmodule'
    )
    contents["rtl/evil.cpp"] = b"#error this is compiled"
    contents["rtl/filelist.f"] += b"evil.cpp\n../../../evil.txt\n"
    manifest = json.loads((tmp_path / "design.json").read_text())
    write_folder(tmp_path, "design.json", manifest, contents)
    loaded = daqkf.Design.load(tmp_path)
    assert loaded.verilog_files == design.verilog_files
    np.testing.assert_array_equal(loaded.simulate(X), design.simulate(X))


@pytest.mark.parametrize(
    "name", ["evil.cpp", "../evil.sv", "/evil.sv", "-evil.sv", "a.sv\n", ".sv"]
)
def test_simulators_are_built_of_plain_files_only(name: str):
    with pytest.raises(ValueError, match=r"is no plain name of a file of SystemVerilog, \.sv"):
        build({name: ""})


def test_stale_files_are_removed_and_those_of_others_stay(
    tmp_path: Path, design: daqkf.Design, network: CompiledNetwork
):
    folder, outside = tmp_path / "net", tmp_path / "outside"
    outside.write_text("mine")
    network.save(folder)
    (program,) = (folder / "programs").iterdir()
    old = {"programs/001-b.bin": b"old", "programs/002-c.bin": b"old", "programs/003-d.bin": b"old"}
    whole = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".json"
    }
    write_folder(folder, "network.json", network.summary(), whole | old)
    # Those of others: not of the manifest, changed since, a link, or outside of the folder.
    (folder / "programs" / "notes.bin").write_text("mine")
    (folder / "programs" / "002-c.bin").write_text("changed")
    (folder / "programs" / "003-d.bin").unlink()
    (folder / "programs" / "003-d.bin").symlink_to(outside)
    network.save(folder)
    left = {path.name for path in (folder / "programs").iterdir()}
    assert left == {program.name, "notes.bin", "002-c.bin", "003-d.bin"}
    assert outside.read_text() == "mine"
    # A manifest that names a file outside is not one of ours: nothing is removed for it.
    listed("../outside")(folder)
    network.save(folder)
    assert outside.read_text() == "mine"
    CompiledNetwork.load(folder)
    # A design in the place of a network leaves nothing of it.
    design.save(folder)
    assert {path.name for path in (folder / "programs").iterdir()} == left - {program.name}
    assert not (folder / "network.json").exists()
    assert not (folder / "network.mlir").exists()
    daqkf.Design.load(folder)


def test_nothing_is_written_through_links(tmp_path: Path, design: daqkf.Design):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "rtl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(daqkf.DaqkfError, match=r"out/rtl: a link; nothing is written through it"):
        design.save(tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("mine")
    link.symlink_to(target)
    write_atomically(link, b"ours")
    assert (target.read_text(), link.read_text(), link.is_symlink()) == ("mine", "ours", False)


def test_temporary_files_are_new_and_have_names_that_nobody_guesses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    victim, seen = tmp_path / "victim", set[str]()
    victim.write_text("mine")
    for _ in range(20):
        with replacing(tmp_path / "out.fst") as temporary:
            assert temporary.read_bytes() == b""
            assert temporary.parent == tmp_path
            assert temporary.suffix == ".fst"
            seen.add(temporary.name)
    assert len(seen) == 20
    # What is there already, if somebody guesses it, is not written to.
    monkeypatch.setattr("daqkf.passes.files.secrets.token_hex", lambda _: "guessed")
    (tmp_path / ".daqkf-guessed.fst").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "out.fst", b"ours")
    assert victim.read_text() == "mine"
    assert os.path.lexists(tmp_path / ".daqkf-guessed.fst")


def test_files_have_the_usual_permissions_and_long_names(tmp_path: Path):
    write_atomically(tmp_path / "a", b"1")
    (tmp_path / "b").write_bytes(b"1")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode
    write_atomically(tmp_path / ("n" * 250), b"1")
    assert len(list(tmp_path.iterdir())) == 3


@dataclass
class Counting:
    """Stands in for an array: results are the sums of inputs, and runs are counted."""

    runs: int = 0

    def run(self, jobs: Sequence[Job]) -> list[np.ndarray[Any, Any]]:
        self.runs += 1
        return [np.repeat(job.x.sum(1, keepdims=True, dtype=np.int8), 3, 1) for job in jobs]


def test_results_to_resume_with_are_checked(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    x = RNG.integers(-9, 9, (4, 5)).astype(np.int8)
    jobs = [Job(b"image", x, 3), Job(b"image", x[:2], 3)]
    counting = Counting()
    device = Resumable(counting, tmp_path)
    expected = device.run(jobs)
    (path,) = tmp_path.iterdir()
    whole, arrays = path.read_bytes(), load_archive(path)

    def again() -> None:
        for y, good in zip(device.run(jobs), expected, strict=True):
            np.testing.assert_array_equal(y, good)
        assert path.read_bytes() == whole

    again()
    assert counting.runs == 1
    caplog.set_level(logging.WARNING)
    damaged = {
        "empty": b"",
        "half": whole[: len(whole) // 2],
        "others": archive({"z": np.ones(3)}),
        "no hash": archive({"y0": arrays["y0"], "y1": arrays["y1"]}),
        "one value": archive(arrays | {"y0": arrays["y0"] + np.int8(1)}),
        "a type": archive(arrays | {"y0": arrays["y0"].astype(np.int16)}),
        "fewer": archive({name: arrays[name] for name in ("y0", "sha256")}),
    }
    for number, (kind, data) in enumerate(damaged.items(), 2):
        path.write_bytes(data)
        again()
        assert counting.runs == number, kind
        assert f"{path} is damaged, and is made again" in caplog.messages[-1]
    # Whole results of other jobs under this name are a mistake that a rebuild would hide.
    other = Resumable(Counting(), tmp_path / "other")
    other.run([Job(b"image", x[:3], 3), jobs[1]])
    path.write_bytes(next((tmp_path / "other").iterdir()).read_bytes())
    with pytest.raises(ValueError, match=r"'y0' has the shape \[3, 3\], not \[4, 3\]"):
        device.run(jobs)
