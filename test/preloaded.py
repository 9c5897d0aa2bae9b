# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Load the tools that tests call once, and fork for each call.

The tests call tools hundreds of times, and loading Python, xDSL and NumPy takes longer than a pass
takes to run. So one process imports everything and waits on a socket. Each call of a tool is a fork
of it, with the arguments, the folder, the environment and the standard streams of its caller. Only
imports and the search for dialects happen before the fork, so no call sees anything of another one.

`start` starts the process and gives back a folder of programs, which stand for the tools on the
PATH. They are scripts that run this file as a client. As each call starts a Python, the client runs
without what it does not need (`-I -S`), and functions of the server import what they use.
"""

import json
import os
import socket
import sys
from types import ModuleType

TOOLS = {
    "daqkf": "daqkf.cli.main",
    "daqkf-opt": "daqkf.cli.opt",
    "daqkf-translate": "daqkf.cli.translate",
    "filecheck": "filecheck.main",
}
"""The module of each tool's `main`."""

ROOMS = ("dialects", "passes", "lowering")
"""The packages of `daqkf` whose modules the tools import when they need them."""


def start() -> str:
    """Start the process; it ends with the caller. Returns the folder of its programs.

    Raises:
        RuntimeError: the process did not come up; its messages are on standard error.
    """
    import subprocess

    server = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    programs = server.stdout.readline().strip()
    if not programs:
        raise RuntimeError("the tools of the tests cannot be loaded")
    _started.append(server)
    return programs


_started: list[object] = []
"""Processes whose standard input stays open as long as this one lives."""


def serve() -> None:
    """Load the tools, print the folder of their programs, and answer until stdin is closed."""
    import gc
    import importlib
    import pkgutil
    import select
    import shlex
    import signal
    import tempfile

    tools = {name: importlib.import_module(module) for name, module in TOOLS.items()}
    for room in (importlib.import_module(f"daqkf.{room}") for room in ROOMS):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    # It keeps what it finds among the entry points of all packages.
    importlib.import_module("daqkf.support.ir").make_context()
    # What is loaded stays: collections in forks need not look at it, which would copy its pages.
    gc.collect()
    gc.freeze()
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        address = os.path.join(folder, "socket")
        os.mkdir(programs := os.path.join(folder, "bin"))
        for name in tools:
            client = [sys.executable, "-IS", os.path.abspath(__file__), address, name]
            with open(path := os.path.join(programs, name), "w", encoding="utf-8") as script:
                script.write(f'#!/bin/sh\nexec {shlex.join(client)} "$@"\n')
            os.chmod(path, 0o755)
        server.bind(address)
        server.listen(64)
        print(programs, flush=True)
        # Nobody waits for the calls: the system forgets them when they end.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            ready, _, _ = select.select([server, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            connection, _ = server.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                server.close()
                answer(connection, tools)
            connection.close()


def answer(connection: socket.socket, tools: dict[str, ModuleType]) -> None:
    """Be the tool that the other end of the connection calls, and end."""
    import traceback

    code: object = 1
    try:
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        # Text streams remember whether what they were made for can seek: these are new ones.
        modes = {"stdin": "r", "stdout": "w", "stderr": "w"}
        for number, (name, mode) in enumerate(modes.items()):
            setattr(sys, name, os.fdopen(number, mode, 1, encoding="utf-8", closefd=False))
        with connection.makefile("r", encoding="utf-8") as request:
            sys.argv, cwd, environment = json.load(request)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environment)
        code = tools[sys.argv[0]].main()
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(bytes([int(code or 0)]))  # pyright: ignore[reportArgumentType]
    os._exit(0)


def call(address: str, arguments: list[str]) -> int:
    """Have the process at this address run a tool; returns the tool's exit code."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [b"-"], [0, 1, 2])
        connection.sendall(json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode())
        connection.shutdown(socket.SHUT_WR)
        code = connection.recv(1)
        # A tool that crashes says nothing.
        return code[0] if code else 139


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(call(sys.argv[1], sys.argv[2:]))
    serve()
