# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Damaged files of every format, for their readers: each loads, or is refused in one line.

A case is a number: what is changed in which file follows from it and the seed. Cases run one after
another in a forked process that has everything loaded, with limits of time and memory; a process
that dies or hangs is a find, and another one goes on behind it.
"""

import contextlib
import json
import mmap
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from types import FrameType

from daqkf.dialects.memory import VARIABLE
from daqkf.support.errors import describe
from fuzz.formats import FORMATS, Format, Refused

SECONDS = 5
"""Of a processor that a case may take; one that does not heed the alarm is killed after twice as
many."""
PATIENCE = 120
"""Seconds by the clock after which a case that takes none of a processor is killed."""
BUDGET = 256 << 20
"""Bytes that input may take (`--memory`)."""
ROOM = 768 << 20
"""Bytes of address space beyond what is taken before the first case."""
LONGEST = 2000
"""Characters of a message."""


class HangError(BaseException):
    """A case takes too long."""


class OutsideError(BaseException):
    """A case did what no reader does: it wrote outside of its folder, or started something."""


@dataclass(frozen=True)
class Find:
    """What a reader should not have done, and the file."""

    format: str
    problem: str
    """The kind of the error and the place in our code that is nearest to it: one for each bug."""
    detail: str
    case: int
    data: bytes = b""


@dataclass
class Tally:
    """Counts of a run."""

    cases: int = 0
    loaded: int = 0
    finds: dict[tuple[str, str], Find] = field(default_factory=dict[tuple[str, str], Find])


_NEVER = (
    *("os.system", "os.exec", "subprocess.Popen", "socket.connect", "pickle.find_class"),
    *("os.remove", "os.rename", "os.symlink", "shutil.rmtree"),
)
"""Audit events of what no reader does."""


class Sandbox:
    """Turns what no reader does into an error, while it has a folder.

    It is for processes of the fuzzer's own, as an audit hook stays for good.
    """

    def __init__(self) -> None:
        self.folder: str | None = None
        sys.addaudithook(self._audit)

    def _audit(self, event: str, args: tuple[object, ...]) -> None:
        if self.folder is None:
            return
        if event == "open":
            path, _, flags = args
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if not writes or isinstance(path, int):
                return
            place = os.path.abspath(os.fsdecode(path))  # type: ignore[arg-type]
            if not place.startswith(self.folder) and place != os.devnull:
                self._found(f"opens {place} to write")
        elif event in _NEVER:
            self._found(f"{event}{args!r}"[:200])

    def _found(self, what: str) -> None:
        self.folder = None
        raise OutsideError(what)


def _place(error: BaseException) -> str:
    """The innermost line of ours that an error went through, or of anybody's."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/test/fuzz/" not in f.filename and _is_ours(f.filename)]
    frame = (ours or frames or [None])[-1]
    return f"{Path(frame.filename).name}:{frame.name}" if frame else "nowhere"


_ROOMS = ("dialects", "hw_targets", "lowering", "passes", "python/daqkf")


def _is_ours(file: str) -> bool:
    return any(f"/{room}/" in file for room in _ROOMS) and "site-packages" not in file


def judged(form: Format, path: Path) -> tuple[bool, str | None, str]:
    """Whether a file loads, and the problem with how it is read, if there is one, with details."""
    try:
        form.read(path)
    except HangError as error:
        return False, f"hangs at {_place(error)}", ""
    except OutsideError as error:
        return False, f"is no reader at {_place(error)}", str(error)
    except form.refusals as error:
        cause = error.cause if isinstance(error, Refused) else error
        if isinstance(cause, RecursionError | NotImplementedError | MemoryError):
            return False, f"{type(cause).__name__} at {_place(cause)}", str(cause)
        message = describe(cause)
        if "\n" in message or not message or len(message) > LONGEST:
            return False, f"a message of another form at {_place(cause)}", message[:300]
        return False, None, ""
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return False, f"{type(error).__name__} at {_place(error)}", str(error)[:300]
    return True, None, ""


class Cases:
    """Files by the number of their case."""

    def __init__(self, seed: int, names: Iterable[str], folder: Path):
        self.seed, self.folder = seed, folder
        self.formats = [FORMATS[name] for name in names]
        self.weights = [form.weight for form in self.formats]
        self.seeds = {form.name: list(form.seeds()) for form in self.formats}
        for form in self.formats:
            path = self.path(form)
            for name, data in form.files.items():
                path.with_name(name).write_bytes(data())
            # What reads them is loaded before this process forks.
            loaded = 0
            for data in self.seeds[form.name]:
                path.write_bytes(data)
                fits, problem, detail = judged(form, path)
                loaded += fits
                assert problem is None, f"{form.name}: {problem}: {detail}"
            assert 2 * loaded >= len(self.seeds[form.name]), f"{form.name}: {loaded} load"

    def form(self, case: int) -> tuple[Format, Random]:
        """The format of a case, and the numbers that its file is made by."""
        rng = Random((self.seed << 40) + case)
        (form,) = rng.choices(self.formats, self.weights)
        return form, rng

    def of(self, case: int) -> tuple[Format, bytes]:
        """The format of a case, and its file."""
        form, rng = self.form(case)
        seeds = self.seeds[form.name]
        return form, form.change(rng, rng.choice(seeds), rng.choice(seeds))

    def path(self, form: Format) -> Path:
        """Where a file of a format is put for its reader."""
        folder = self.folder / form.name
        folder.mkdir(exist_ok=True)
        return folder / f"model{form.suffix}"


def _alarm(number: int, frame: FrameType | None) -> None:
    raise HangError


def limit() -> Sandbox:
    """Limit the memory, the files and the deeds of this process, for good."""
    sys.dont_write_bytecode = True
    os.environ[VARIABLE] = str(BUDGET)
    taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (taken * resource.getpagesize() + ROOM,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, _alarm)
    return Sandbox()


def _send(pipe: int, find: Find) -> None:
    os.write(pipe, (json.dumps(asdict(find) | {"data": find.data.hex()}) + "\n").encode())


def _work(cases: Cases, first: int, last: int, shared: mmap.mmap, pipe: int) -> None:
    """Run cases in this process; the number of each is shared before it begins."""
    sandbox = limit()
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    loaded = 0
    for case in range(first, last):
        shared[:16] = case.to_bytes(8, "little") + loaded.to_bytes(8, "little")
        try:
            form, data = cases.of(case)
        except Exception as error:
            place = f"{type(error).__name__} at {_place(error)}"
            _send(pipe, Find("(change)", place, str(error), case))
            continue
        path = cases.path(form)
        path.write_bytes(data)
        sandbox.folder = str(cases.folder)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            fits, problem, detail = judged(form, path)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            sandbox.folder = None
        loaded += fits
        if problem is not None:
            _send(pipe, Find(form.name, problem, detail, case, data))
    shared[:16] = last.to_bytes(8, "little") + loaded.to_bytes(8, "little")


_CHUNK = 20_000
"""Cases of a process, so that what libraries keep does not add up."""


def run(
    cases: Cases,
    until: Callable[[Tally], bool],
    progress: Callable[[Tally], None],
    first: int = 0,
    chunk: int = _CHUNK,
) -> Tally:
    """Run cases until the tally says that it is enough, or somebody interrupts."""
    tally = Tally()
    with contextlib.suppress(KeyboardInterrupt):
        while not until(tally):
            with mmap.mmap(-1, 16) as shared:
                shared[:16] = first.to_bytes(8, "little") + bytes(8)
                reader, writer = os.pipe()
                child = os.fork()
                if child == 0:
                    code = 1
                    try:
                        os.close(reader)
                        signal.signal(signal.SIGINT, signal.SIG_DFL)
                        _work(cases, first, first + chunk, shared, writer)
                        code = 0
                    finally:
                        os._exit(code)
                os.close(writer)
                try:
                    done = _watch(cases, child, reader, shared, first, tally, until, progress)
                finally:
                    with contextlib.suppress(ProcessLookupError, ChildProcessError):
                        os.kill(child, signal.SIGKILL)
                        os.waitpid(child, 0)
                    os.close(reader)
                first = done
    return tally


def _watch(
    cases: Cases,
    child: int,
    reader: int,
    shared: mmap.mmap,
    first: int,
    tally: Tally,
    until: Callable[[Tally], bool],
    progress: Callable[[Tally], None],
) -> int:
    """Look after a process of cases until it ends; the case to go on with."""
    cases_before, loaded_before = tally.cases, tally.loaded
    buffer, last_case, since, used = b"", -1, 0.0, 0.0
    while True:
        ready, _, _ = select.select([reader], [], [], 0.5)
        block = os.read(reader, 1 << 16) if ready else b""
        buffer += block
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            sent = json.loads(line)
            _keep(tally, Find(**sent | {"data": bytes.fromhex(sent["data"])}))
        case = int.from_bytes(shared[:8], "little")
        loaded = int.from_bytes(shared[8:16], "little")
        tally.cases = cases_before + case - first
        tally.loaded = loaded_before + loaded
        progress(tally)
        if case != last_case:
            last_case, since, used = case, time.monotonic(), _used(child)
        ended = ready and not block
        if ended:
            _, status = os.waitpid(child, 0)
            if status == 0:
                return case
            signalled = os.WIFSIGNALED(status)
            how = f"signal {os.WTERMSIG(status)}" if signalled else f"exit {status >> 8}"
            _keep(tally, _last(cases, case, f"ends the process: {how}"))
            return case + 1
        if _used(child) - used > 2 * SECONDS or time.monotonic() - since > PATIENCE:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            _keep(tally, _last(cases, case, "hangs, and heeds no alarm"))
            return case + 1
        if until(tally):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return case


def _used(process: int) -> float:
    """Seconds of a processor that a process has taken."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _last(cases: Cases, case: int, problem: str) -> Find:
    """The find of a process that has ended, whose last file is still there."""
    form, _ = cases.form(case)
    path = cases.path(form)
    return Find(form.name, problem, "", case, path.read_bytes() if path.exists() else b"")


def _keep(tally: Tally, found: Find) -> None:
    if tally.finds.setdefault((found.format, found.problem), found) is found:
        print(f"  {found.format}: {found.problem}: {found.detail[:150]}", flush=True)


@cache
def _preload(name: str) -> None:
    """Read files that are right: to load what reads them does what no reader does."""
    with tempfile.TemporaryDirectory(prefix="daqkf-fuzz-") as folder, contextlib.chdir(folder):
        Cases(0, [name], Path(folder))


def judged_apart(form: Format, data: bytes, folder: Path, seconds: int = SECONDS) -> str | None:
    """The problem with how a file is read, in a process of its own."""
    _preload(form.name)
    path = folder / form.name
    path.mkdir(exist_ok=True)
    for name, content in form.files.items():
        (path / name).write_bytes(content())
    path /= f"model{form.suffix}"
    path.write_bytes(data)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            sandbox = limit()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            warnings.simplefilter("ignore")
            sandbox.folder = str(folder)
            signal.setitimer(signal.ITIMER_PROF, seconds)
            _, problem, _ = judged(form, path)
            signal.setitimer(signal.ITIMER_PROF, 0)
            os.write(writer, (problem or "").encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], PATIENCE)
    if not ready:
        os.kill(child, signal.SIGKILL)
    problem = os.read(reader, 4096).decode() if ready else ""
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if not ready:
        return "hangs, and heeds no alarm"
    if os.WIFSIGNALED(status):
        return f"ends the process: signal {os.WTERMSIG(status)}"
    if status:
        return f"ends the process: exit {status >> 8}"
    return problem or None


def reduced(find: Find, folder: Path, tries: int = 300) -> bytes:
    """A file as short as it gets that has the same problem, by leaving out parts of it."""
    form, data = FORMATS[find.format], find.data
    deadline = time.monotonic() + 30
    size = max(len(data) // 2, 1)
    while size and tries > 0 and time.monotonic() < deadline:
        at, shorter = 0, False
        while at < len(data) and tries > 0 and time.monotonic() < deadline:
            candidate = data[:at] + data[at + size :]
            tries -= 1
            if judged_apart(form, candidate, folder, 2) == find.problem:
                data, shorter = candidate, True
            else:
                at += size
        size = size // 2 if not shorter or size > 1 else 0
    return data


def summary(tally: Tally, seconds: float) -> str:
    """The line that a run ends with."""
    kinds = Counter(name for name, _ in tally.finds)
    found = ", ".join(f"{count} in {name}" for name, count in kinds.items()) or "no finds"
    return (
        f"parsers: {tally.cases} cases in {seconds:.0f} s, {tally.loaded} loaded, "
        f"{tally.cases - tally.loaded} refused; {found}"
    )
