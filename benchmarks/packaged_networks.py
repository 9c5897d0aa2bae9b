# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Compile the ONNX files of packages from PyPI, and compare with onnxruntime on their own data.

    python benchmarks/packaged_networks.py [WHEEL or PACKAGE or PACKAGE==VERSION …] [--only NAME]

Packages are downloaded by pip; without arguments they are magika, silero-vad and openwakeword
0.4.0, the last version whose wheel has the files. Magika reads files of the Python installation,
the others speech-like signals: a glottal source of changing pitch through formants, with
fricatives, pauses and noise; openWakeWord's words, which are not in the packages, are windows of
embeddings of these that a random search drives until the outputs cover their range. Half of the
data calibrates, and on the other half each output's SQNR to onnxruntime is measured. Kernels that
int8 is too coarse for stay on the host (`--fallback`).
"""

import argparse
import subprocess
import sys
import sysconfig
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from rich.table import Table
from scipy.signal import lfilter

import daqkf
from daqkf.support.tables import print_table

PACKAGES = ("magika==1.0.3", "silero-vad==6.2.3", "openwakeword==0.4.0")
RATE = 16_000

Array = NDArray[Any]
Inputs = Mapping[str, Array]


@dataclass(frozen=True)
class Data:
    """Inputs of a network by name, in batches."""

    calibration: list[Inputs]
    test: list[Inputs]


def speech(rng: np.random.Generator, seconds: float) -> NDArray[np.float32]:
    """A signal like speech, within −1 … 1."""
    count = int(seconds * RATE)
    pieces: list[Array] = []
    while sum(map(len, pieces)) < count:
        length = int(rng.uniform(0.08, 0.35) * RATE)
        kind = rng.random()
        if kind < 0.2:
            piece = np.zeros(length)
        elif kind < 0.4:  # a fricative
            noise = rng.standard_normal(length)
            piece = lfilter([0.3, -0.285], [1.0, -rng.uniform(-0.3, 0.3)], noise)
        else:  # a vowel
            pitch = rng.uniform(80, 260) * np.linspace(
                1.0, rng.uniform(0.8, 1.2), length, dtype=np.float64
            )
            phase = np.cumsum(pitch / RATE)
            piece = np.diff(np.floor(phase), prepend=0.0) + 0.01 * rng.standard_normal(length)
            formants = ((270, 800), (850, 2300), (2300, 3200))
            for low, high in formants:
                centre, width = rng.uniform(low, high), rng.uniform(60, 150)
                radius = np.exp(-np.pi * width / RATE)
                angle = 2 * np.pi * centre / RATE
                piece = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], piece)
            piece = piece / max(np.abs(piece).max(), 1e-9)
        pieces.append(piece * np.hanning(length) ** 0.3 * 10 ** rng.uniform(-1.2, 0))
    whole = np.concatenate(pieces)[:count] + 10 ** rng.uniform(-4, -2.3) * rng.standard_normal(
        count
    )
    return (0.7 * whole / np.abs(whole).max()).astype(np.float32)


def session(path: Path) -> Any:
    """A session of onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def halves(batches: list[Inputs]) -> Data:
    """Every second batch for either."""
    return Data(batches[::2], batches[1::2])


def files(folder: Path) -> Data:
    """Magika's features: 1024 bytes of a file's beginning, and as many of its end."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = sorted(path for path in root.rglob("*") if path.is_file() and path.stat().st_size > 8)
    kinds: dict[str, list[Path]] = {}
    for path in found:
        kinds.setdefault(path.suffix, []).append(path)
    chosen = [path for paths in kinds.values() for path in paths[:: max(1, len(paths) // 40)][:40]]
    rows: list[Array] = []
    for path in chosen:
        content = path.read_bytes()
        first, last = content[:4096].lstrip()[:1024], content[-4096:].rstrip()[-1024:]
        row = np.full(2048, 256, np.int32)
        row[: len(first)] = np.frombuffer(first, np.uint8)
        row[2048 - len(last) :] = np.frombuffer(last, np.uint8)
        rows.append(row)
    whole = np.stack(rows)
    return halves([{"bytes": whole[0::2]}, {"bytes": whole[1::2]}])


def voice(path: Path) -> Data:
    """Silero's chunks of 512 samples behind 64 of the chunk before, with the state so far."""
    run, rng = session(path), np.random.default_rng(1)
    shapes = {info.name: info.shape for info in run.get_inputs()}
    if "state" not in shapes:
        raise RuntimeError("its state is of another form than the data here")
    streams = shapes["state"][1] if isinstance(shapes["state"][1], int) else 16
    signals = np.stack([speech(rng, 1.6) for _ in range(streams)])
    state, batches = np.zeros((2, streams, 128), np.float32), list[Inputs]()
    context = np.zeros((streams, 64), np.float32)
    for low in range(0, signals.shape[1] - 511, 512):
        chunk = np.concatenate([context, signals[:, low : low + 512]], axis=1)
        feeds: dict[str, Array] = {"input": chunk, "state": state}
        if "sr" in shapes:
            feeds["sr"] = np.array(RATE)
        _, state = run.run(None, feeds)
        context = chunk[:, -64:]
        batches.append(feeds)
    return halves(batches)


def audio(rng: np.random.Generator) -> Array:
    """16-bit samples as openWakeWord has them."""
    return (speech(rng, 2.0) * 32767).round()[np.newaxis]


def spectra(path: Path) -> Data:
    """Signals of two seconds."""
    rng = np.random.default_rng(2)
    return halves([{"input": audio(rng)} for _ in range(16)])


def windows(path: Path) -> Data:
    """76 frames of openWakeWord's spectrogram, every eighth frame."""
    run, rng, found = session(path.with_name("melspectrogram.onnx")), np.random.default_rng(3), []
    for _ in range(16):
        frames = run.run(None, {"input": audio(rng)})[0].squeeze() / 10 + 2
        places = range(0, len(frames) - 75, 16)
        batch = np.stack([frames[low : low + 76] for low in places])[..., np.newaxis]
        found.append({"input_1": batch.astype(np.float32)})
    return halves(found)


def embeddings(path: Path) -> Data:
    """Windows of openWakeWord's embeddings, half of them driven over the range of the outputs.

    What is no wake word has outputs of about 1e-6, the tail of a sigmoid: as a signal they are
    nothing, and real wake words are not in the package. So frames of the windows are replaced until
    the outputs are what was drawn for them.
    """
    spectrogram = session(path.with_name("melspectrogram.onnx"))
    embedding = session(path.with_name("embedding_model.onnx"))
    network = session(path)
    (info,) = network.get_inputs()
    rng, halves_of_it = np.random.default_rng(4), list[list[Inputs]]()
    length = int(info.shape[1])
    for _ in range(2):
        frames: list[Array] = []
        rows: list[Array] = []
        for _ in range(12):
            # An embedding is 8 frames of 10 ms further than the one before.
            samples = (speech(rng, 2.5 + 0.08 * length) * 32767).round()[np.newaxis]
            found = spectrogram.run(None, {"input": samples})[0].squeeze() / 10 + 2
            places = range(0, len(found) - 75, 8)
            batch = np.stack([found[low : low + 76] for low in places])[..., np.newaxis]
            vectors = embedding.run(None, {"input_1": batch.astype(np.float32)})[0].squeeze()
            rows += [vectors[low : low + length] for low in range(0, len(vectors) - length, 6)]
            frames.append(vectors)
        pool = np.concatenate(frames)
        rows += [driven(network, rows[rng.integers(len(rows))], pool, rng) for _ in range(DRIVEN)]
        halves_of_it.append([{info.name: row[np.newaxis]} for row in rows])
    return Data(*halves_of_it)


DRIVEN = 128
"""Windows of either half whose outputs are driven."""

STEPS = 1500
"""Proposals for each, at most."""

NEAR, EDGE = 4, 0.02
"""Windows with noise, and its size to that of a window, both root mean squares."""


def driven(run: Any, window: Array, pool: Array, rng: np.random.Generator) -> Array:
    """A window [L, 96] that gives about an output that is drawn, by a random search.

    A class is drawn, if there are several, and the logarithm of its odds between -5 and 5. Each
    proposal puts a frame of others, or one between or beyond two of them, in one place of the
    window; it is kept if the output comes closer. What counts is the farthest output of the window
    and of some with a little noise: where a network picks a branch, a search for one output would
    end on the very edge between two, where sounds are no more often than elsewhere.
    """
    name = run.get_inputs()[0].name
    classes = run.get_outputs()[0].shape[-1]
    chosen, wanted = int(rng.integers(classes)), rng.uniform(-5, 5)

    noise = EDGE * np.sqrt(np.square(window).mean()) * rng.standard_normal((NEAR, *window.shape))

    def distance(candidate: Array) -> float:
        nearby = (candidate, *(candidate + noise).astype(candidate.dtype))
        y = np.stack([run.run(None, {name: each[np.newaxis]})[0].reshape(-1) for each in nearby])
        share = np.clip(y[:, chosen].astype(np.float64), 1e-30, 1 - 1e-8)
        return float(np.abs(np.log(share / (1 - share)) - wanted).max())

    window = window.copy()
    least = distance(window)
    for _ in range(STEPS):
        if least < 0.4:
            break
        candidate = window.copy()
        one, other = pool[rng.integers(len(pool), size=2)]
        candidate[rng.integers(len(window))] = one + rng.uniform(-0.5, 1.5) * (other - one)
        if (found := distance(candidate)) < least:
            window, least = candidate, found
    return window


DATA: Mapping[str, Callable[[Path], Data]] = {
    "magika/models/standard_v3_3/model": files,
    "silero_vad/data/": voice,
    "openwakeword/resources/models/melspectrogram": spectra,
    "openwakeword/resources/models/embedding_model": windows,
    "openwakeword/resources/models/": embeddings,
}
"""By what the name of a file in a wheel begins with; the first one counts."""


def wheels(names: list[str], folder: Path) -> Iterator[Path]:
    """Wheels, those of packages downloaded."""
    for name in names:
        if name.endswith(".whl"):
            yield Path(name)
            continue
        own = folder / name
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", name]
        subprocess.run([*command, "-d", str(own)], check=True)
        yield from own.glob("*.whl")


def signal_to_noise(found: list[Array], wanted: list[Array]) -> float:
    """In decibels, of all batches together."""
    pairs = list(zip(found, wanted, strict=True))
    noise = sum(float(((a - b).astype(np.float64) ** 2).sum()) for a, b in pairs)
    signal = sum(float((b.astype(np.float64) ** 2).sum()) for b in wanted)
    return float(10 * np.log10(signal / noise)) if noise else np.inf


def _without(batch: Inputs, names: Inputs) -> dict[str, Array]:
    return {name: array for name, array in batch.items() if name not in names}


def measure(path: Path, data: Data, options: Mapping[str, Any]) -> list[str]:
    """A row of the table: SQNR of each output, kernels, zeros, cycles, seconds."""
    began = time.perf_counter()
    # The rate of the samples chooses a branch of an If in some of Silero's files.
    fixed = {name: array for name, array in data.test[0].items() if name == "sr"}
    calibration = [_without(batch, fixed) for batch in data.calibration]
    network = daqkf.compile(str(path), calibration=calibration, fixed=fixed, **options)
    took = time.perf_counter() - began
    run = session(path)
    names = [info.name for info in run.get_outputs()]
    wanted = [dict(zip(names, run.run(None, dict(batch)), strict=True)) for batch in data.test]
    found = [network.run(_without(batch, fixed)) for batch in data.test]
    ratios = [
        f"{name} {signal_to_noise([y[name] for y in found], [y[name] for y in wanted]):.1f} dB"
        for name in names
    ]
    return [", ".join(ratios), str(len(network.kernels)), f"{network.cycles:,}", f"{took:.0f}"]


def main() -> None:
    """Compile each file that has data, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheels", nargs="*", default=PACKAGES)
    parser.add_argument("--only", default="", help="files whose names have this in them")
    parser.add_argument("--levels", default="int8")
    parser.add_argument("--split", type=float, default=0.02)
    parser.add_argument("--plain", action="store_true", help="without scales for rows")
    parser.add_argument("--fallback", type=float, default=30.0, metavar="DB", help="0: none")
    arguments = parser.parse_args()
    options = {
        "levels": arguments.levels,
        "split": arguments.split,
        "scale_rows": not arguments.plain,
        "fallback": arguments.fallback or None,
    }
    table = Table("file", "SQNR to onnxruntime", "kernels", "cycles a tile", "seconds")
    with tempfile.TemporaryDirectory() as temporary:
        for wheel in wheels(list(arguments.wheels), Path(temporary)):
            folder = Path(temporary) / wheel.stem
            with zipfile.ZipFile(wheel) as archive:
                names = [name for name in archive.namelist() if name.endswith(".onnx")]
                archive.extractall(folder, names)
            for name in names:
                kind = next((key for key in DATA if name.startswith(key)), None)
                if kind is None or arguments.only not in name:
                    continue
                path = folder / name
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        row = measure(path, DATA[kind](path), options)
                except (daqkf.DaqkfError, RuntimeError) as error:
                    row = [f"refused: {str(error).replace(str(path), '')}", "", "", ""]
                table.add_row(Path(name).name, *row)
                print(Path(name).name, *row, flush=True)
    print_table(table)


if __name__ == "__main__":
    main()
