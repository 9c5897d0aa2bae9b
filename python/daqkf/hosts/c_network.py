# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""A compiled network as a program in C: its host's part, tables of its kernels, and their data."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from xdsl.dialects.builtin import DYNAMIC_INDEX
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue
from xdsl.utils.exceptions import InterpretationError

from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.dialects.interpreting import entry, interpreter_of, require_arguments
from daqkf.dialects.nn import LinearOp
from daqkf.dialects.nn.base import node_name, shape_of
from daqkf.dialects.nn.interpreter import dtype_of
from daqkf.dialects.nn.ops import ABSENT
from daqkf.dialects.nn.shaping import ShapeOp
from daqkf.drivers.c_library import c_library
from daqkf.hosts.kernels import KernelInC
from daqkf.hosts.operations import KINDS, Value, as_number, declared, statement
from daqkf.hw_targets.image_format import fingerprint
from daqkf.hw_targets.streams import ALIGNMENT
from daqkf.lowering.image.queue_memory import QueueMemory
from daqkf.support.errors import DaqkfError, describe, printable

DATA = "network.bin"
_UNIT = 64
"""Constants begin at multiples of so many bytes."""


@dataclass
class _Writer:
    """A network's host as it is written, operation by operation."""

    network: CompiledNetwork
    memory: QueueMemory
    values: dict[SSAValue, Value] = field(default_factory=dict[SSAValue, Value])
    varies: set[SSAValue] = field(default_factory=set[SSAValue])
    """Values that depend on more than the inputs' extents."""
    variables: list[str] = field(default_factory=list[str])
    tables: list[str] = field(default_factory=list[str])
    body: list[str] = field(default_factory=list[str])
    kernels: dict[str, tuple[int, KernelInC]] = field(
        default_factory=dict[str, tuple[int, KernelInC]]
    )
    room: int = 0
    """Bytes of the device's memory that kernels work in."""
    tile: int = 0
    """Bytes of a tile, with any program."""

    def write(self, inputs: Mapping[str, NDArray[Any]]) -> list[Value]:
        """Write all operations; the values that the network returns."""
        function = entry(self.network.network)
        arguments = [inputs[name] for name in self.network.inputs]
        require_arguments(function, arguments)
        block = function.body.block
        for number, (argument, array) in enumerate(zip(block.args, arguments, strict=True)):
            self.values[argument] = Value(f"x{number}", array)
            self.varies.add(argument)
        interpreter = interpreter_of(self.network.network)
        for number, op in enumerate(block.ops):
            if isinstance(op, ReturnOp):
                return [self.values[value] for value in op.arguments]
            read = [self.values[value] for value in op.operands]
            if isinstance(op, LinearOp):
                self._linear(op, number, read)
                continue
            with np.errstate(all="ignore"):
                arrays = interpreter.run_op(op, tuple(value.array for value in read))
            self._host(op, number, read, arrays)
        raise AssertionError("a function that returns nothing")

    def _result(self, value: SSAValue, name: str, array: Any) -> Value:
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        if array.dtype.name not in KINDS:
            raise DaqkfError(f"hosts in C have no arrays of {array.dtype.name}")
        self.values[value] = Value(name, array)
        return self.values[value]

    def _host(self, op: Operation, number: int, read: list[Value], arrays: tuple[Any, ...]) -> None:
        for place, (result, array) in enumerate(zip(op.results, arrays, strict=True)):
            self._result(result, f"v{number}_{place}", array)
        varies = not isinstance(op, ShapeOp) and any(value in self.varies for value in op.operands)
        if not varies:
            return
        self.varies |= set(op.results)
        (result,) = op.results
        value = self.values[result]
        self.variables.append(declared(value))
        self.body += [f"/* {_comment(node_name(op))} */", *statement(op, value, read)]

    def _linear(self, op: LinearOp, number: int, read: list[Value]) -> None:
        """A kernel, on all rows or on the tokens that are there."""
        name = op.callee.root_reference.data
        if name not in self.kernels:
            own = KernelInC.of(self.network, self.network.kernels[name])
            self.kernels[name] = len(self.kernels), own
            self.tables += own.tables(len(self.kernels) - 1, self.memory)
        index, kernel = self.kernels[name]
        x, *mask = read
        rows = prod(x.shape[:-1])
        outputs = op.results[0].type.get_shape()[-1]  # pyright: ignore[reportAttributeAccessIssue]
        shape = (*x.shape[:-1], outputs)
        value = self._result(op.results[0], f"v{number}_0", np.zeros(shape, np.float32))
        self.varies.add(op.results[0])
        self.variables.append(declared(value))
        config, lengths = self.network.config, [rows]
        if kernel.attends:
            lengths = [x.shape[1]] * x.shape[0]
            if x.array.ndim != 3 or x.shape[1] > kernel.most_tokens:
                raise DaqkfError(
                    f"{kernel.name}: sequences of {x.shape[1]} tokens, and the programs are for "
                    f"{kernel.most_tokens}"
                )
        self.room = max(self.room, kernel.room(config, lengths))
        most = max(max(pair) for pair in kernel.rows())
        self.tile = max(self.tile, most * config.lanes)
        self.body.append(f"/* {_comment(name)} */")
        if not kernel.attends:
            self.body += _run(
                f"daqkf_run_kernel(device, &kernel{index}, &room, &(uint32_t){{{rows}}}, 1, "
                f"{x.name}, {value.name})"
            )
            return
        self._batch(index, x, mask, value)

    def _batch(self, index: int, x: Value, mask: list[Value], y: Value) -> None:
        """A kernel that attends."""
        sequences, tokens, features = x.shape
        own = f"{y.name}_"
        self.variables += [
            f"static uint32_t {own}lengths[{sequences}];",
            f"static float {own}rows[{sequences * tokens * features}];",
            f"static float {own}results[{y.array.size}];",
        ]
        steps, name = (0, 0), "NULL"
        if mask:
            every = mask[0].strides((sequences, 1, 1, tokens))
            steps, name = (every[0], every[3]), mask[0].name
        self.body += [
            f"const struct daqkf_batch {own}batch = {{",
            f"    {sequences}u, {tokens}u, {name}, {steps[0]}, {steps[1]},",
            f"    (float){as_number(ABSENT)}, {own}lengths, {own}rows, {own}results}};",
            *_run(
                f"daqkf_run_batch(device, &kernel{index}, &room, &{own}batch, {x.name}, {y.name})"
            ),
        ]

    def constants(self) -> Iterator[Value]:
        """Values that do not vary, and that lines of the body read."""
        used = set(re.findall(r"\bv\d+_\d+\b", "\n".join(self.body)))
        for value, known in self.values.items():
            if value not in self.varies and known.name in used:
                yield known


def _run(call: str) -> list[str]:
    return [f"result = {call};", "if (result != DAQKF_OK)", "  return result;"]


def _comment(name: str) -> str:
    """A name in a comment, which it cannot end."""
    return printable(name).replace("*/", "* /").replace("\\", "/")


def example(network: CompiledNetwork) -> dict[str, NDArray[Any]]:
    """Inputs of zeros, by name, of a network whose inputs have one shape only.

    Raises:
        DaqkfError: an input that may have several.
    """
    found: dict[str, NDArray[Any]] = {}
    args = entry(network.network).body.block.args
    for name, argument in zip(network.inputs, args, strict=True):
        shape = shape_of(argument)
        if shape is None or DYNAMIC_INDEX in shape:
            raise DaqkfError(
                f"the input '{name}' may have several shapes: give examples of the inputs, of the "
                "shapes that the host is to be for"
            )
        found[name] = np.zeros(shape, dtype_of(argument))
    return found


def c_host(
    network: CompiledNetwork,
    inputs: Mapping[str, ArrayLike] | None = None,
    *,
    base: int = 0,
) -> dict[str, bytes]:
    """A host in C that runs a network on a device, by the name of each file.

    Args:
        network: compiled for a target with a queue.
        inputs: arrays by name, of the extents that the host is to be for; `example` if there are
            none.
        base: the address of the device's memory, a multiple of 4096.

    Raises:
        DaqkfError: inputs that do not fit, an operation that has no C, a kernel of several
            programs, or a target without a queue.
    """
    known, inputs = set(network.inputs), example(network) if inputs is None else inputs
    if set(inputs) != known:
        raise DaqkfError(f"the network's inputs are {', '.join(sorted(known))}")
    arrays = {name: np.asarray(inputs[name]) for name in network.inputs}
    try:
        writer = _Writer(network, QueueMemory(network.config, base))
        outputs = writer.write(arrays)
    except (InterpretationError, ValueError) as error:
        raise DaqkfError(describe(error)) from None
    content = writer.memory.content
    content += bytes(-len(content) % ALIGNMENT)
    data, places = bytearray(content), dict[str, int]()
    for value in writer.constants():
        data += bytes(-len(data) % _UNIT)
        places[value.name] = len(data)
        data += value.array.astype(value.array.dtype.newbyteorder("<")).tobytes()
    head = _header(writer, network, arrays, outputs, (base, len(content), len(data)))
    texts = c_library(linux=True, network=True) | {
        "network.h": head,
        "network.c": _source(writer, network, outputs, places),
        "main.c": _main(writer, network, outputs),
        "Makefile": _MAKEFILE,
    }
    return {name: text.encode() for name, text in texts.items()} | {DATA: bytes(data)}


def _parameters(writer: _Writer, network: CompiledNetwork, outputs: list[Value]) -> list[str]:
    """The parameters of `network_run`, with the names and extents of what they are."""
    args = entry(network.network).body.block.args
    inputs = [writer.values[argument] for argument in args]
    found = [f"const {value.kind} *{value.name}" for value in inputs]
    return found + [f"{value.kind} *y{number}" for number, value in enumerate(outputs)]


_LICENCE = (
    "/* Made by daqkf of a compiled network; daqkf is under the Apache License v2.0 with LLVM "
    "Exceptions. */\n"
)


def _header(
    writer: _Writer,
    network: CompiledNetwork,
    inputs: Mapping[str, NDArray[Any]],
    outputs: list[Value],
    sizes: tuple[int, int, int],
) -> str:
    base, programs, data = sizes
    said = [
        f"   x{number}: {_comment(name)} {list(array.shape)}"
        for number, (name, array) in enumerate(inputs.items())
    ]
    said += [
        f"   y{number}: {_comment(name)} {list(value.shape)}"
        for number, (name, value) in enumerate(zip(network.outputs, outputs, strict=True))
    ]
    parameters = ", ".join(_parameters(writer, network, outputs))
    lines = [
        f"{_LICENCE}",
        "#ifndef NETWORK_H",
        "#define NETWORK_H",
        "",
        '#include "daqkf_network.h"',
        "",
        "/* What daqkf_open gets. */",
        f"#define NETWORK_FINGERPRINT {fingerprint(network.config):#010x}u",
        "/* The memory of the device that the network needs. */",
        f"#define NETWORK_ADDRESS {base:#x}u",
        f"#define NETWORK_BYTES {programs + writer.room}u",
        f"/* The first part of {DATA} is what network_load writes there. */",
        f"#define NETWORK_PROGRAM_BYTES {programs}u",
        f"#define NETWORK_DATA_BYTES {data}u",
        "",
        f"/* Both get what {DATA} holds, at a multiple of 64. */",
        "enum daqkf_result network_load(struct daqkf_device *device, const void *data);",
        "/*",
        *said,
        "*/",
        "enum daqkf_result network_run(struct daqkf_device *device, const void *data,",
        f"                              {parameters});",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def _source(
    writer: _Writer, network: CompiledNetwork, outputs: list[Value], places: Mapping[str, int]
) -> str:
    parameters = ", ".join(_parameters(writer, network, outputs))
    constants = [
        f"const {value.kind} *const {value.name} = (const void *)((const char *)data + "
        f"{places[value.name]});"
        for value in writer.constants()
    ]
    inputs = (f"x{number}" for number in range(len(network.inputs)))
    unread = ["device", "data", "room", *inputs]
    copies = [
        line
        for number, value in enumerate(outputs)
        for line in (
            f"for (size_t i = 0; i < {value.array.size}; ++i)",
            f"  y{number}[i] = {value.name}[i];",
        )
    ]
    body = [
        "const struct daqkf_room room = {NETWORK_ADDRESS + NETWORK_PROGRAM_BYTES,",
        "                                NETWORK_BYTES - NETWORK_PROGRAM_BYTES, tile,",
        "                                sizeof(tile)};",
        "enum daqkf_result result = DAQKF_OK;",
        *constants,
        f"(void){', (void)'.join(unread)};",
        *writer.body,
        *copies,
        "return result;",
    ]
    lines = [
        f"{_LICENCE}",
        '#include "network.h"',
        "",
        "#include <math.h>",
        "",
        '#include "daqkf_host.h"',
        "",
        *writer.tables,
        "",
        f"static int8_t tile[{max(writer.tile, 1)}];",
        *writer.variables,
        "",
        "enum daqkf_result network_load(struct daqkf_device *device, const void *data) {",
        "  return daqkf_store(device, NETWORK_ADDRESS, data, NETWORK_PROGRAM_BYTES);",
        "}",
        "",
        "enum daqkf_result network_run(struct daqkf_device *device, const void *data,",
        f"                              {parameters}) {{",
        *(f"  {line}" for line in body),
        "}",
        "",
    ]
    return "\n".join(lines)


_MAKEFILE = """CFLAGS = -std=c99 -O2 -Wall

network: $(wildcard *.c) $(wildcard *.h)
\t$(CC) $(CFLAGS) -o $@ $(filter %.c,$^) -lm
"""

_MAIN = """{licence}
/* A host under Linux: network DEVICE MEMORY {data} {files}
   DEVICE is /dev/uioN, and MEMORY a device of u-dma-buf. Files have arrays as memory has them. */

#include <stdio.h>
#include <stdlib.h>

#include "daqkf_uio.h"
#include "network.h"

{variables}

static int failed(const char *what, const char *why) {{
  fprintf(stderr, "network: %s: %s\\n", what, why);
  return 1;
}}

static bool read_file(const char *path, void *data, size_t bytes) {{
  FILE *file = fopen(path, "rb");
  if (!file)
    return false;
  const bool read = fread(data, 1, bytes, file) == bytes && fgetc(file) == EOF;
  fclose(file);
  return read;
}}

static bool write_file(const char *path, const void *data, size_t bytes) {{
  FILE *file = fopen(path, "wb");
  if (!file)
    return false;
  const bool written = fwrite(data, 1, bytes, file) == bytes;
  return fclose(file) == 0 && written;
}}

int main(int argc, char **argv) {{
  static struct daqkf_uio uio;
  if (argc != {count}) {{
    fprintf(stderr, "usage: network DEVICE MEMORY {data} {files}\\n");
    return 2;
  }}
  const struct daqkf_uio_place place = {{argv[1], 0, argv[2], 0, 0, true}};
  void *data = malloc(NETWORK_DATA_BYTES);
  if (!data || !read_file(argv[3], data, NETWORK_DATA_BYTES))
    return failed(argv[3], "this is not the file of this network");
{reads}
  enum daqkf_result result = daqkf_uio_open(&uio, &place, NETWORK_FINGERPRINT);
  if (result != DAQKF_OK)
    return failed(argv[1], daqkf_message(result));
  result = network_load(&uio.device, data);
  if (result == DAQKF_OK)
    result = network_run(&uio.device, data, {names});
  daqkf_uio_close(&uio);
  free(data);
  if (result != DAQKF_OK)
    return failed(argv[1], daqkf_message(result));
{writes}
  return 0;
}}
"""


def _main(writer: _Writer, network: CompiledNetwork, outputs: list[Value]) -> str:
    args = entry(network.network).body.block.args
    inputs = [writer.values[argument] for argument in args]
    results = [Value(f"y{number}", value.array) for number, value in enumerate(outputs)]
    ends = [*inputs, *results]
    reads = [
        f"  if (!read_file(argv[{4 + at}], {value.name}, sizeof({value.name})))\n"
        f'    return failed(argv[{4 + at}], "it has not as many bytes as the array");'
        for at, value in enumerate(inputs)
    ]
    writes = [
        f"  if (!write_file(argv[{4 + len(inputs) + at}], {value.name}, sizeof({value.name})))\n"
        f'    return failed(argv[{4 + len(inputs) + at}], "it cannot be written");'
        for at, value in enumerate(results)
    ]
    return _MAIN.format(
        licence=_LICENCE,
        data=DATA,
        files=" ".join(value.name.upper() for value in ends),
        variables="\n".join(declared(value) for value in ends),
        count=4 + len(ends),
        reads="\n".join(reads),
        writes="\n".join(writes),
        names=", ".join(value.name for value in ends),
    )
