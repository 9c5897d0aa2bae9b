# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Level sets looked up in a table instead of found by fitting.

The table predicts, for weights that are described by a few numbers, the error and the cycles of
every candidate level set; a decision takes the fewest cycles among those that reach a target.

A channel is described by three numbers that do not change with its scale: how many non-zeros
its energy is spread over, their form factor and their crest factor. The predictions interpolate
linearly between the knots of a grid over these, and a matrix has the sum of its channels' errors.
Where the non-zeros themselves are not known, the table has the shape that is usual for a pattern
class, sparsity and fan-in. `daqkf spaq-profile` builds the table from real and synthetic weights.
"""

import hashlib
import json
import math
import re
from dataclasses import astuple, dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.spaq.attributes import LevelSet
from daqkf.passes.defaults import TABLE
from daqkf.passes.quantize.sparsity import analyze

type Floats = NDArray[np.float64]

FORMAT = "daqkf level table"
VERSION = 1
"""Of the file and of the features; tables of other versions are refused."""


REBUILD_COMMAND = "daqkf spaq-profile"

CLASSES = ("dense", "unstructured", "n:m", "block", "row", "column")
"""Pattern classes that are told apart; other patterns count as unstructured."""

SQNR_LIMIT = 50.0
"""Predictions end here, in dB: int8 activations have larger errors themselves."""


class LevelTableError(ValueError):
    """A table that cannot be used; the message names the file and how to rebuild it."""


class Channels(NamedTuple):
    """The shape of the non-zeros of each output channel that has any; all arrays are [C]."""

    nonzeros: Floats
    """How many there are."""
    effective: Floats
    """(Σw²)² / Σw⁴, the non-zeros that the energy is spread over: 1..nonzeros."""
    form: Floats
    """Form factor mean|w| / rms: 0..1, and 1 if all magnitudes are equal."""
    crest: Floats
    """Crest factor max|w| / rms, at least 1."""
    energy: Floats
    """Σw², as a share of the matrix's."""

    @classmethod
    def of(cls, weights: NDArray[Any]) -> "Channels":
        """The channels of finite weights [K, N] with at least one non-zero."""
        magnitudes = np.abs(np.asarray(weights, np.float64))
        magnitudes = magnitudes[:, magnitudes.any(axis=0)]
        largest = magnitudes.max(axis=0)
        magnitudes /= largest  # so that no power overflows or vanishes
        count = np.count_nonzero(magnitudes, axis=0).astype(np.float64)
        squares = magnitudes**2
        energy = squares.sum(axis=0)
        effective = energy**2 / (squares**2).sum(axis=0)
        form = magnitudes.sum(axis=0) / np.sqrt(energy * count)
        share = energy * (largest / largest.max()) ** 2
        return cls(count, effective, form, np.sqrt(count / energy), share / share.sum())


@dataclass(frozen=True)
class Features:
    """What a decision needs to know of weights [K, N].

    Raises:
        ValueError: a sparsity outside 0..1, or a fan-in that is negative or not finite.
    """

    sparsity: float
    """Share of zeros, 0..1."""
    pattern: str
    """The pattern of the zeros, as `analyze` names it."""
    fan_in: float
    """Mean count of non-zeros of the channels that have any; 0 if there are none."""
    channels: Channels | None = None
    """The shape of the non-zeros, if it is known."""

    def __post_init__(self):
        if not 0 <= self.sparsity <= 1:
            raise ValueError(f"sparsity must be 0 <= sparsity <= 1, not {self.sparsity:g}")
        if not 0 <= self.fan_in < math.inf:
            raise ValueError(f"fan_in must be finite and at least 0, not {self.fan_in:g}")

    @classmethod
    def of(cls, weights: NDArray[Any]) -> "Features":
        """The features of weights [K, N].

        Raises:
            ValueError: not a finite matrix with at least one entry.
        """
        weights = np.asarray(weights)
        if weights.ndim != 2 or not weights.size or not np.isfinite(weights).all():
            raise ValueError("levels can only be chosen for a finite matrix [K, N]")
        summary = analyze(weights)
        sparsity = 1 - summary.nonzeros / weights.size
        if not summary.nonzeros:
            return cls(sparsity, summary.pattern, 0.0)
        channels = Channels.of(weights)
        return cls(sparsity, summary.pattern, float(channels.nonzeros.mean()), channels)


class Decision(NamedTuple):
    """The level set that a table chooses, and what it predicts of it."""

    levels: LevelSet
    sqnr: float
    """Σw² / Σ(w - q)² over the matrix, in dB."""
    cycles: float
    """Stream words of an output channel, the mean over those that have weights."""


def corners(
    axes: tuple[Floats, ...], points: tuple[Floats, ...]
) -> tuple[NDArray[np.int64], Floats]:
    """Where points lie in a grid: its nodes' flat indices and their shares, both [C, 2^axes].

    The shares are those of linear interpolation along each axis; a point beyond the knots
    counts as on the border.
    """
    lefts: list[NDArray[np.int64]] = []
    shares: list[Floats] = []
    for knots, values in zip(axes, points, strict=True):
        values = np.clip(values, knots[0], knots[-1])
        left = np.clip(np.searchsorted(knots, values, "right") - 1, 0, len(knots) - 2)
        lefts.append(left)
        shares.append((values - knots[left]) / (knots[left + 1] - knots[left]))
    sizes = [len(knots) for knots in axes]
    indices: list[NDArray[np.int64]] = []
    weights: list[Floats] = []
    for corner in product((0, 1), repeat=len(axes)):
        place = tuple(left + step for left, step in zip(lefts, corner, strict=True))
        indices.append(np.ravel_multi_index(place, sizes))
        factors = [share if step else 1 - share for share, step in zip(shares, corner, strict=True)]
        weights.append(np.prod(factors, axis=0))
    return np.stack(indices, axis=-1), np.stack(weights, axis=-1)


@dataclass(frozen=True)
class Grid:
    """Values on the nodes of a grid, for linear interpolation between them."""

    axes: tuple[Floats, ...]
    """The knots of each axis, ascending."""
    values: Floats
    """[nodes, outputs], the last axis the fastest."""

    def __call__(self, points: tuple[Floats, ...]) -> Floats:
        """[C, outputs] at points, one array [C] for each axis."""
        indices, shares = corners(self.axes, points)
        return np.einsum("ck,cko->co", shares, self.values[indices])


def shape_points(channels: Channels) -> tuple[Floats, ...]:
    """Coordinates in the grid of errors."""
    return np.log2(channels.effective), channels.form, np.log2(channels.crest)


def cycle_points(channels: Channels) -> tuple[Floats, ...]:
    """Coordinates in the grid of cycles."""
    return np.log2(channels.nonzeros), channels.form, np.log2(channels.crest)


def usual_points(features: Features) -> tuple[Floats, ...]:
    """Coordinates in the grid of usual shapes, of one point each."""
    numbers = pattern_class(features.pattern), features.sparsity, np.log2(max(features.fan_in, 1))
    return tuple(np.array([float(number)]) for number in numbers)


def pattern_class(pattern: str) -> int:
    """The index in CLASSES of a pattern as `analyze` names it."""
    if re.fullmatch(r"\d+:\d+", pattern):
        pattern = "n:m"
    elif pattern not in CLASSES:
        # Some patterns carry sizes behind their name.
        pattern = next(iter(re.findall(r"^[a-z]+", pattern)), "")
    return CLASSES.index(pattern if pattern in CLASSES else "unstructured")


@dataclass(frozen=True)
class LevelTable:
    """The table; its grids have an output for each of the level sets."""

    levels: tuple[LevelSet, ...]
    sqnr: Grid
    """In dB, at `shape_points`."""
    cycles: dict[int, Grid]
    """log2 of the stream words by max_shift, at `cycle_points`."""
    usual: Grid
    """log2 effective share of the fan-in, form and log2 crest, at `usual_points`."""
    profile: dict[str, int]
    """How many pruned matrices of each model and family the table was built from."""

    def channels(self, features: Features) -> Channels:
        """The shape of the non-zeros, or of one channel as is usual."""
        if features.channels is not None:
            return features.channels
        ((spread, form, crest),) = self.usual(usual_points(features))
        effective = max(features.fan_in * 2.0 ** min(spread, 0.0), 1.0)
        values = features.fan_in, effective, min(form, 1.0), 2.0 ** max(crest, 0.0), 1.0
        return Channels(*(np.array([value]) for value in values))

    def predict_sqnr(self, features: Features) -> Floats:
        """The SQNR in dB, up to SQNR_LIMIT, with each of the level sets [L].

        The noise of all channels over the energy of all; infinite for a matrix of zeros.
        """
        if not features.fan_in:
            return np.full(len(self.levels), np.inf)
        channels = self.channels(features)
        noise = 10.0 ** (-self.sqnr(shape_points(channels)) / 10)
        return np.minimum(-10 * np.log10(channels.energy @ noise), SQNR_LIMIT)

    def predict_cycles(self, features: Features, max_shift: int) -> Floats:
        """Stream words of a mean channel that has weights, with each of the level sets [L].

        Taken from the largest tabulated step of gaps that is not beyond `max_shift`.
        """
        if not features.fan_in:
            return np.ones(len(self.levels))
        grid = self.cycles[max(shift for shift in self.cycles if shift <= max(max_shift, 0))]
        return (2.0 ** grid(cycle_points(self.channels(features)))).mean(axis=0)

    def decide(self, features: Features, target: float, max_shift: int) -> Decision:
        """The level set with the fewest cycles among those that reach `target` dB.

        Raises:
            ValueError: a target that is not finite, or that no level set reaches.
        """
        if not math.isfinite(target):
            raise ValueError(f"the target must be a finite SQNR in dB, not {target:g}")
        sqnr = self.predict_sqnr(features)
        cycles = self.predict_cycles(features, max_shift)
        if sqnr.max() < target:
            best = int(sqnr.argmax())
            raise ValueError(
                f"no level set of the table reaches {target:g} dB: the best has "
                f"{sqnr[best]:.1f} dB ({self.levels[best].kind}, {self.levels[best].magnitudes} "
                "magnitudes)"
            )
        # Of equal cycles the one with the smaller error, so that the order of the table is free.
        best = np.lexsort((-sqnr, np.where(sqnr >= target, cycles, np.inf)))[0]
        return Decision(self.levels[best], float(sqnr[best]), float(cycles[best]))

    def dumps(self) -> str:
        """The text of the file, the same for the same table."""
        document: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "command": REBUILD_COMMAND,
            "profile": self.profile,
            "levels": [list(astuple(levels)) for levels in self.levels],
            "sqnr": _dump_grid(self.sqnr, 10),
            "cycles": {str(shift): _dump_grid(grid, 100) for shift, grid in self.cycles.items()},
            "usual": _dump_grid(self.usual, 100),
        }
        document["checksum"] = _checksum(document)
        # A list of numbers on a line each, so that a rebuilt table can be compared with diff.
        text = json.dumps(document, indent=1)
        return re.sub(r"\[[^\[\]{}]*\]", lambda row: re.sub(r"\s+", "", row[0]), text) + "\n"

    @classmethod
    def loads(cls, text: str | bytes, name: str) -> "LevelTable":
        """Read the text of a file called `name`.

        Raises:
            LevelTableError: it is damaged, of another version, or no table.
        """
        try:
            read: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _unusable(name, f"is no JSON ({error})") from None
        document: dict[str, Any] = cast(dict[str, Any], read) if isinstance(read, dict) else {}
        if document.get("format") != FORMAT:
            raise _unusable(name, "is no level table")
        if document.get("version") != VERSION:
            found = document.get("version")
            raise _unusable(name, f"has version {found!r}, and this DAQKF reads {VERSION}")
        if document.pop("checksum", None) != _checksum(document):
            raise _unusable(name, "is damaged: its checksum does not match")
        try:
            levels = tuple(LevelSet(*entry) for entry in document["levels"])
            cycles = {
                int(shift): _load_grid(grid, 100, 3, len(levels))
                for shift, grid in document["cycles"].items()
            }
            if 0 not in cycles or not levels:
                raise ValueError("there must be level sets, and cycles without shifts")
            return cls(
                levels,
                _load_grid(document["sqnr"], 10, 3, len(levels)),
                cycles,
                _load_grid(document["usual"], 100, 3, 3),
                document["profile"],
            )
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise _unusable(name, f"has a wrong or missing entry ({error})") from None


def _unusable(name: str, problem: str) -> LevelTableError:
    return LevelTableError(f"{name}: the level table {problem}; rebuild it: {REBUILD_COMMAND}")


def _checksum(document: dict[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _dump_grid(grid: Grid, unit: int) -> dict[str, Any]:
    """Values as integers of 1 / unit, the nodes of each output in a list."""
    rows = np.rint(grid.values.T * unit).astype(int)
    return {"axes": [knots.tolist() for knots in grid.axes], "values": rows.tolist()}


def _load_grid(entry: dict[str, Any], unit: int, axes: int, outputs: int) -> Grid:
    knots = tuple(np.array(axis, np.float64) for axis in entry["axes"])
    values = np.array(entry["values"], np.float64).T / unit
    if len(knots) != axes or any(
        axis.ndim != 1 or len(axis) < 2 or not (np.diff(axis) > 0).all() for axis in knots
    ):
        raise ValueError(f"a grid has {axes} axes of ascending knots")
    if values.shape != (math.prod(map(len, knots)), outputs) or not np.isfinite(values).all():
        raise ValueError("the values of a grid do not fill it")
    return Grid(knots, values)


@cache
def _load(path: Path, modified: int) -> LevelTable:
    return LevelTable.loads(path.read_bytes(), str(path))


def load_table(path: str | Path | None = None) -> LevelTable:
    """The table in a file, or the one that comes with DAQKF. A file is read once.

    Raises:
        LevelTableError: there is no such file, or it is no table of this version.
    """
    path = TABLE if path is None else Path(path)
    try:
        return _load(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise _unusable(str(path), f"cannot be read ({error.strerror})") from None
