# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Bundles of ports: signals that travel together, under names with a common prefix.

The bundle `stream` of an `address`, `data` and a `write` is the ports `stream_address`,
`stream_data` and `stream_write` of a module.

    write = inputs(c, "stream", {"address": 8, "data": 64, "write": 1})
    memory.write(**write)
    …
    top.instance("element", element, **ports("stream", part(loader, "stream")))
"""

from collections.abc import Mapping

from daqkf.lowering.hdl.circuit import Circuit, Signal

type Bundle = Mapping[str, Signal]
"""Signals by the names that they have in the bundle."""


def inputs(c: Circuit, name: str, widths: Mapping[str, int]) -> Bundle:
    """A bundle of input ports, of these widths in bits."""
    return {field: c.input(f"{name}_{field}", width) for field, width in widths.items()}


def outputs(c: Circuit, name: str, bundle: Bundle) -> None:
    """A bundle of output ports, and what they carry."""
    for port, signal in ports(name, bundle).items():
        c.output(port, signal)


def ports(name: str, bundle: Bundle) -> dict[str, Signal]:
    """The signals of a bundle by the names of their ports."""
    return {f"{name}_{field}": signal for field, signal in bundle.items()}


def part(signals: Bundle, name: str) -> Bundle:
    """The bundle of this name among the ports of an instance."""
    prefix = f"{name}_"
    return {
        port.removeprefix(prefix): signal
        for port, signal in signals.items()
        if port.startswith(prefix)
    }
