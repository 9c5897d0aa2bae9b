# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The SystemVerilog of an array with its system, as files of a folder."""

from collections.abc import Mapping

from xdsl.dialects.builtin import ModuleOp

from daqkf.hw_targets.config import ArrayConfig


def system_module(config: ArrayConfig) -> ModuleOp:
    """The IR at circuit level of `daqkf_system` around an array."""
    from daqkf.lowering.hdl.circuit import circuit_module
    from daqkf.lowering.rtl.system import build_system

    return circuit_module(build_system(config))


def system_files(config: ArrayConfig) -> dict[str, str]:
    """SystemVerilog by file name of `daqkf_system` around an array.

    Raises:
        VerilogExportError: the exporter failed.
    """
    from daqkf.lowering.hdl.verilog import emit_verilog

    return emit_verilog(system_module(config))


def array_files(system: Mapping[str, str]) -> dict[str, str]:
    """Those of a system's files that its array consists of, as the array alone would have them.

    A module comes after those it has instances of, and the system has the array before its own.
    """
    from daqkf.lowering.rtl.array import TOP

    names = list(system)
    return {name: system[name] for name in names[: names.index(f"{TOP}.sv") + 1]}


def rtl_contents(array: dict[str, str], system: dict[str, str]) -> dict[str, str]:
    """What a folder has of RTL, by path: the files of a system, two lists, and its registers."""
    from daqkf.lowering.rtl.register_map import c_header

    contents = {f"rtl/{name}": text for name, text in system.items()}
    for name, files in (("filelist", array), ("system", system)):
        contents[f"rtl/{name}.f"] = "".join(f"{file}\n" for file in files)
    contents["daqkf_registers.h"] = c_header()
    return contents
