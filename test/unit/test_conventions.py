# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""What holds for every file, pass, dialect and target."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from xdsl.passes import ModulePass

from daqkf.compiler.pipelines import PIPELINES
from daqkf.dialects import DIALECTS
from daqkf.hw_targets import UnknownTargetError, load_target, target_names
from daqkf.hw_targets.target import derived_name
from daqkf.lowering import PASSES as LOWERINGS
from daqkf.passes import GENERAL_PASSES, PASSES

ROOT = Path(__file__).parents[2]
ROOMS = ("hw_targets", "dialects", "passes", "lowering", "python/daqkf")
OWN = ("nn", "spaq", "dfke", "rpea")
"""Dialects of this project, beside those that it adds operations to."""

SOURCES = sorted(
    path
    for room in (*ROOMS, "test", "benchmarks", "examples")
    for path in (ROOT / room).rglob("*")
    if path.suffix in (".py", ".cpp", ".h", ".toml")
    and not any((ROOT / room / part).is_symlink() for part in path.relative_to(ROOT / room).parts)
)


def test_heavy_libraries_are_imported_only_when_used():
    script = (
        "import sys, daqkf, daqkf.compiler.layer, daqkf.dialects, daqkf.passes, daqkf.lowering,"
        "daqkf.cli.opt,"
        "daqkf.cli.main, daqkf.reports.writing;"
        "print(*{'circt', 'matplotlib', 'scipy', 'rich', 'tokenizers'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_the_pass_driver_starts_without_the_passes():
    script = (
        "import sys, daqkf.cli.opt;"
        "print(*(name for name in sys.modules if name == 'numpy'"
        " or name.startswith(('daqkf.passes.nn_', 'daqkf.passes.spaq_', 'daqkf.passes.dfke_'))))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_sources_have_a_licence(path: Path):
    if path.suffix == ".toml":
        assert path.read_text().startswith("#"), "data files begin with what they are"
        return
    lines = path.read_text().splitlines()
    assert "Apache License v2.0 with LLVM Exceptions" in lines[0]
    assert "SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception" in lines[1]


def _home(room: str, name: str) -> str:
    """The module of a pass; of a conversion, `lower-a-to-b`, without the `lower`."""
    stem = name.replace("-", "_")
    if room == "lowering":
        return f"lowering.conversions.{stem.removeprefix('lower_')}"
    return f"{room}.{stem}"


@pytest.mark.parametrize(
    ("room", "name"),
    [("passes", name) for name in PASSES] + [("lowering", name) for name in LOWERINGS],
)
def test_a_pass_is_registered_under_its_name_and_lives_in_its_file(room: str, name: str):
    kind = (PASSES if room == "passes" else LOWERINGS)[name]()
    assert issubclass(kind, ModulePass)
    assert kind.name == name
    assert kind.__module__ == f"daqkf.{_home(room, name)}"
    assert kind.__doc__
    assert (ROOT / "test" / room / f"{name.replace('-', '_')}.mlir").is_file()


def test_every_pass_file_is_registered():
    for room, passes in (("passes", PASSES), ("lowering", LOWERINGS)):
        files = {
            path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            for path in (ROOT / room).rglob("*.py")
            if "(ModulePass)" in path.read_text()
        }
        assert files == {_home(room, name) for name in passes}


@pytest.mark.parametrize(
    ("room", "name"),
    [("passes", name) for name in PASSES] + [("lowering", name) for name in LOWERINGS],
)
def test_what_a_pass_refuses_is_tested(room: str, name: str):
    text = (ROOT / "test" / room / f"{name.replace('-', '_')}-invalid.mlir").read_text()
    assert "not daqkf-opt" in text or "--verify-diagnostics" in text


@pytest.mark.parametrize("name", DIALECTS)
def test_operations_are_documented_and_tested(name: str):
    dialect = DIALECTS[name]()
    assert dialect.name == name
    added = "linalg_ext" if name == "linalg" else "circt_ext"
    folder = ROOT / "test" / "dialects" / (name if name in OWN else added)
    valid, invalid = (folder / "ops.mlir").read_text(), (folder / "invalid.mlir").read_text()
    assert invalid.count("// CHECK") > 1
    for op in dialect.operations:
        if op.__module__.startswith("daqkf."):
            assert op.__doc__, op.name
            assert f"{op.name} " in valid or f"{op.name}(" in valid, f"no round trip of {op.name}"


@pytest.mark.parametrize("name", OWN)
def test_dialects_have_a_rationale(name: str):
    text = (ROOT / "dialects" / name / "RATIONALE.md").read_text()
    assert "```mlir" in text


def test_pipelines_name_known_passes():
    for passes in PIPELINES.values():
        assert set(passes) <= set(GENERAL_PASSES) | set(PASSES) | set(LOWERINGS)


@pytest.mark.parametrize("name", target_names())
def test_targets_load(name: str):
    target = load_target(name)
    assert target.name == name
    assert target.description


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("machine = 3", "a target has a description and a table"),
        ("[machine]\npes = 1", r"\[machine\] lacks 'activation_depth'"),
        ("surplus = 1\n[machine]", "a target has a description and a table"),
        ("[machine", "target.toml: "),
    ],
)
def test_bad_target_files_are_named(tmp_path: Path, text: str, message: str):
    path = tmp_path / "target.toml"
    path.write_text(text)
    with pytest.raises(UnknownTargetError, match=message):
        load_target(str(path))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("pes = 0", "pes cannot be 0"),
        ("lanes = 3", "post_lanes 2 do not divide 3 lanes"),
        ("pes = true", "'pes' must be an integer"),
        ("weight_bits = 4", "'weight_bits' must be a list of integers"),
        ("normalizes = 1", "'normalizes' must be true or false"),
        ("residual_depth = 3", "residual_depth must be a power of two above 1, not 3"),
        ("colour = 1", "does not know 'colour'"),
    ],
)
def test_bad_machines_are_named(tmp_path: Path, entry: str, message: str):
    entries = {"pes": 1, "lanes": 2, "post_lanes": 2, "max_shift": 0}
    entries |= dict.fromkeys(
        ("activation_depth", "stream_depth", "parameter_depth", "result_depth"), 16
    )
    name = entry.split()[0]
    lines = [f"{key} = {value}" for key, value in entries.items() if key != name]
    path = tmp_path / "target.toml"
    path.write_text("\n".join(["[machine]", *lines, entry]))
    with pytest.raises(UnknownTargetError, match=message):
        load_target(str(path))


def test_unknown_targets_are_named():
    with pytest.raises(
        UnknownTargetError, match=r"unknown target 'nowhere' \(known: generic, one-token, tiny"
    ):
        load_target("nowhere")


def test_a_target_is_named_by_what_differs_from_another_one():
    base = load_target("wide-memory").machine
    machine = replace(
        base, pes=8, lanes=64, gates=False, activation_memory="ultra", operand_depth=0
    )
    name = derived_name("wide-memory", machine)
    assert name == (
        "wide-memory:pes=8,lanes=64,gates=false,operand_depth=0,activation_memory=ultra"
    )
    assert load_target(name).machine == machine
    assert derived_name(name, base) == derived_name("wide-memory", base) == "wide-memory"
    with pytest.raises(ValueError, match="a target's name cannot have the list 'families'"):
        derived_name("wide", replace(load_target("wide").machine, families=("multiply",)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wide:", r"target 'wide:': \[machine\] does not know ''"),
        ("wide:size=1", r"target 'wide:size=1': \[machine\] does not know 'size'"),
        ("wide:pes=two", r"target 'wide:pes=two': \[machine\] 'pes' must be an integer"),
        ("wide:lanes=3", r"target 'wide:lanes=3': post_lanes 2 do not divide 3 lanes"),
        ("wider:pes=2", r"unknown target 'wider' \(known: "),
    ],
)
def test_what_differs_must_be_what_a_machine_has(name: str, message: str):
    with pytest.raises(UnknownTargetError, match=message):
        load_target(name)
