# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Cycle-accurate simulation of a generated array: its RTL, verilated, behind a C++ harness."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.rpea import ArrayConfig
from daqkf.hw_targets.status import LoadError, Phase
from daqkf.hw_targets.timing import gating_cycles, normalization_cycles, softmax_cycles
from daqkf.lowering.image.encode import for_tiles
from daqkf.lowering.rtl.array import TOP
from daqkf.runtime import tools
from daqkf.runtime.waveforms import Waveform, phase_names

HARNESS = Path(__file__).with_name("harness.cpp")
_FLAGS = (
    *("--cc", "--exe", "--build", "-O3", "--noassert", "-Wno-fatal", "--top-module", TOP),
    *("--x-assign", "unique", "--x-initial", "unique"),
)
_WAVEFORM_FLAGS = ("--trace-max-width", "0")
_CFLAGS = "-O1 -std=c++17"
MAKE_VARIABLES = "OPT_FAST= OPT_SLOW= OPT_GLOBAL= CFG_CXXFLAGS_PCH_I=-include"
"""The last one is empty in the wheel, and models of several files would not compile."""
_MARGIN = 10_000
_AHEAD = 3600.0
"""Seconds that no build takes."""


class SimulationError(RuntimeError):
    """The simulation could not be built, or the array did not finish its job."""


@dataclass(frozen=True)
class Cycles:
    """Clock cycles spent by a simulation, over all its tiles."""

    loading_program: int
    loading_activations: int
    running: int
    storing: int
    chaining: int = 0
    """Between the kernels of a chain."""

    def __add__(self, other: "Cycles") -> "Cycles":
        both = zip(astuple(self), astuple(other), strict=True)
        return Cycles(*(mine + theirs for mine, theirs in both))

    @property
    def total(self) -> int:
        """All of them."""
        return sum(astuple(self))


@dataclass(frozen=True)
class Trace:
    """What an array did with a job."""

    y: NDArray[np.int8]
    """[T, N] the results."""
    cycles: Cycles
    variants: NDArray[np.int64]
    """[tiles] the variant that each tile took, by `status_variant`; 0 without a SPAQ unit."""


@dataclass(frozen=True)
class Job:
    """A program image, activations int8 [T, K] for it, and how many outputs N it has.

    Without an image, the array keeps the program of the job before. A program that keeps its sums
    has no outputs: N is 0. If the program attends, activations are sequences of so many tokens.
    """

    image: bytes | None
    x: NDArray[np.int8]
    outputs: int
    sequences: tuple[int, ...] = ()

    def tiles(self, lanes: int) -> list[int]:
        """Tiles of T lanes of each sequence, or of all tokens."""
        return [-(-tokens // lanes) for tokens in self.sequences or (len(self.x),)]

    def beats(self, lanes: int) -> NDArray[np.int8]:
        """The rows [beats, T] of its activations, as an array of T lanes takes them.

        Tile by tile, of which the last may have tokens of zeros; of a sequence, twice, behind its
        number of tokens (`rpea.operands`).
        """
        found: list[NDArray[np.int8]] = []
        begins = np.cumsum(self.sequences[:-1], dtype=np.int64)
        for part, tiles in zip(np.split(self.x, begins), self.tiles(lanes), strict=True):
            padded = np.zeros((tiles * lanes, self.x.shape[1]), np.int8)
            padded[: len(part)] = part
            beats = padded.reshape(tiles, lanes, -1).transpose(0, 2, 1).reshape(-1, lanes)
            header = np.resize(np.array([len(part)], "<u2").view(np.int8), (1, lanes))
            found += [header, beats, beats] if self.sequences else [beats]
        return np.concatenate(found)

    def results(self, tiles: NDArray[np.int8]) -> NDArray[np.int8]:
        """The results [T, N] of tokens in tiles [tiles, N, lanes]."""
        lanes = tiles.shape[2]
        rows = tiles.transpose(0, 2, 1).reshape(-1, self.outputs)
        ends = lanes * np.cumsum(self.tiles(lanes))
        parts = np.split(rows, ends[:-1])
        lengths = self.sequences or (len(self.x),)
        return np.concatenate([part[:n] for part, n in zip(parts, lengths, strict=True)])


def cache_folder() -> Path:
    """Where built simulators are kept: `DAQKF_CACHE`, or the user's cache folder."""
    if folder := os.environ.get("DAQKF_CACHE"):
        return Path(folder).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "daqkf"


def build(files: Mapping[str, str], waveforms: str | None = None) -> Path:
    """Build the simulator of these Verilog files, or find it in the cache.

    It can write `waveforms` of this format (`waveforms.FORMATS`).

    Raises:
        SimulationError: Verilator or the C++ compiler failed, or lacks what FST needs.
        ToolNotFoundError: Verilator, Perl, make or a C++ compiler is missing.
    """
    verilator, compiler, make = tools.verilator(), tools.cxx_compiler(), tools.make()
    harness, flags = HARNESS.read_bytes(), _FLAGS
    if waveforms:
        files = {**files, **phase_names()}
        flags = (*_FLAGS, *_WAVEFORM_FLAGS, f"--trace-{waveforms}")
    recipe = json.dumps([sorted(files.items()), flags, _CFLAGS, verilator.argv, compiler])
    key = hashlib.sha256(recipe.encode() + harness).hexdigest()[:32]
    target = cache_folder() / "simulators" / key / "simulator"
    if target.is_file():
        return target
    if waveforms == "fst":
        require_compression(compiler)
    target.parent.parent.mkdir(parents=True, exist_ok=True)
    # Build beside the target and rename, so that an interrupted build leaves nothing behind.
    with tempfile.TemporaryDirectory(dir=target.parent.parent, prefix="building-") as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        (Path(folder) / HARNESS.name).write_bytes(harness)
        objects = Path(folder, "obj_dir")
        library = _library([*flags, _CFLAGS, compiler], verilator.argv)
        if library.is_dir():
            # Later than the Makefile that Verilator is about to write, on which they depend.
            objects.mkdir()
            later = time.time() + _AHEAD
            for built in library.iterdir():
                os.utime(shutil.copyfile(built, objects / built.name), (later, later))
        jobs = str(os.cpu_count() or 1)
        command = [*verilator.argv, *flags, "-j", jobs, "-CFLAGS", _CFLAGS]
        command += ["-MAKEFLAGS", f"{MAKE_VARIABLES} CXX={compiler}"]
        command += ["-o", "simulator", HARNESS.name, *files]
        run = subprocess.run(
            command,
            cwd=folder,
            env=verilator.env | {"MAKE": make},
            capture_output=True,
            text=True,
            check=False,
        )
        built = objects / "simulator"
        if run.returncode or not built.is_file():
            output = (run.stderr + run.stdout).splitlines()
            lines = [line for line in output if "error" in line.lower()] or output or ["no output"]
            raise SimulationError(f"building the simulator failed: {lines[0].strip()}")
        ready, kept = Path(folder, "ready"), Path(folder, "library")
        ready.mkdir()
        shutil.move(built, ready / "simulator")
        kept.mkdir()
        for built in objects.glob("verilated*.o"):
            shutil.move(built, kept)
        for source, place in ((ready, target.parent), (kept, library)):
            try:
                source.rename(place)
            except OSError:
                # Another process was faster; what it built is the same.
                if not place.is_dir():
                    raise
    return target


def _library(recipe: Sequence[str], verilator: Sequence[str]) -> Path:
    """Where Verilator's own objects are kept, which are the same for all simulators of a recipe."""
    changed = [Path(part).stat().st_mtime_ns for part in verilator if Path(part).is_file()]
    key = hashlib.sha256(json.dumps([*recipe, *verilator, *changed]).encode()).hexdigest()[:32]
    return cache_folder() / "simulators" / f"library-{key}"


def require_compression(compiler: str) -> None:
    """Check that a C++ compiler has the libraries that FST files are written with.

    Raises:
        SimulationError: it has not.
    """
    program = "#include <lz4.h>\n#include <zlib.h>\nint main() { return !zlibVersion(); }\n"
    with tempfile.TemporaryDirectory() as folder:
        command = [compiler, "-x", "c++", "-", "-o", str(Path(folder, "probe")), "-llz4", "-lz"]
        run = subprocess.run(command, input=program, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SimulationError(
            "the C++ compiler finds no zlib or lz4, which .fst files need: install zlib1g-dev and "
            "liblz4-dev, or write a .vcd file"
        )


class Simulator:
    """An array of one config, compiled with the harness into a program."""

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
        """The simulator of these Verilog files; see `build`."""
        return cls(build(files, waveforms), config)

    def run(
        self, jobs: Sequence[Job], *, stalls: float = 0.0, seed: int = 0
    ) -> list[tuple[NDArray[np.int8], Cycles]]:
        """The results int8 [T, N] and the cycles of each job; see `trace`."""
        traces = self.trace(jobs, stalls=stalls, seed=seed)
        return [(trace.y, trace.cycles) for trace in traces]

    def trace(
        self,
        jobs: Sequence[Job],
        *,
        stalls: float = 0.0,
        seed: int = 0,
        overlap: bool = False,
        waveform: Waveform | None = None,
    ) -> list[Trace]:
        """Play jobs one after another on one array, without a reset between them.

        Every stream pauses in a share `stalls` (0 ≤ stalls < 1) of the cycles, at random. With
        `overlap`, each stream goes on to the next job by itself, so that an array of two banks
        loads a program while the one before runs; a cycle counts for the job whose results are
        due. A simulator that was built for it writes a `waveform`.

        Raises:
            SimulationError: the array refused a program, stopped, or broke the protocol; an
                overlap of jobs without their own programs, or on an array of one bank.
        """
        if overlap and not (self.config.double_buffered and all(job.image for job in jobs)):
            raise SimulationError("overlapping jobs need two banks, and each its own program")
        if not 0 <= stalls < 1:
            raise SimulationError(f"stalls must be 0 <= stalls < 1, not {stalls}")
        lanes = self.config.lanes
        with tempfile.TemporaryDirectory(prefix="daqkf-") as folder:
            arguments: list[str] = []
            for number, job in enumerate(jobs):
                tiles, beats = sum(job.tiles(lanes)), job.beats(lanes)
                x, image = Path(folder, f"x{number}"), Path(folder, f"program{number}")
                beats.tofile(x)
                if job.image is not None:
                    played = 2 * tiles if job.sequences else tiles
                    image.write_bytes(for_tiles(job.image, played) if overlap else job.image)
                arguments += ["-" if job.image is None else image.name, x.name, f"y{number}"]
                arguments += [str(tiles), str(len(beats)), str(job.outputs)]
            limit = int((self._longest_silence() + _MARGIN) / (1 - stalls))
            command = [self._binary, lanes, seed, round(1000 * stalls), limit, int(overlap)]
            command += (waveform.path.absolute(), waveform.tiles) if waveform else ("-", 0)
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

    def _longest_silence(self) -> int:
        """Cycles in which an array may work on a chain of kernels without a transfer."""
        config = self.config
        results = config.result_depth * (config.post_cycles + config.pes)
        moves = config.result_depth if config.chains else 0
        if config.operand_depth:
            # Rows of features are read for each token of a PE.
            moves *= config.lanes // config.pes
        rows = [
            *([normalization_cycles(config, config.result_depth)] if config.normalizes else []),
            *([gating_cycles(config, config.result_depth // 2)] if config.gates else []),
            *([softmax_cycles(config, config.result_depth, 1)] if config.softmax else []),
        ]
        return config.stream_depth + config.kernels * (results + moves + max(rows, default=0))

    def _trace(self, path: Path, job: Job, line: str) -> Trace:
        lanes = self.config.lanes
        tiles = np.fromfile(path, np.int8).reshape(-1, job.outputs, lanes) if job.outputs else None
        y = np.empty((len(job.x), 0), np.int8) if tiles is None else job.results(tiles)
        numbers = [int(number) for number in line.split()]
        phases, variants = numbers[: max(Phase) + 1], numbers[max(Phase) + 1 :]
        return Trace(y, _cycles(phases), np.array(variants, np.int64))


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
