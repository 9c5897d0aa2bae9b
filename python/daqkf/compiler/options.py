# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The options of a compilation: one definition for Python, the command lines and pipelines."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from types import UnionType
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.spaq import LevelSet
from daqkf.passes.defaults import ATTENTION_LEVELS, BUDGET, EXPONENTS, HOST_CYCLES, SPLIT
from daqkf.passes.encode.cost_model import Elements
from daqkf.passes.quantize.accuracy import Accuracy, Divergence, Loss, Measure, NextToken
from daqkf.support.errors import DaqkfError, shortened

Levels = LevelSet | str | int

_LEVELS = re.compile(r"(uniform|codebook|ternary|binary)(?:-(\d+))?(?:-(\d+))?")
_MAGNITUDES = {"uniform": 15, "codebook": 15}
"""Of a kind of level set that is named without a count: 31 levels, 5 bits."""

_CUTTING = (
    *("requantize", "fixed", "pre_norms", "scale_rows", "fuse"),
    *("host_cycles", "products", "max_tokens", "model"),
)
"""Options of networks that say what kernels are made of, and of which model."""

TOKENS = 128
"""Of the longest sequence, if nothing says."""

_MOST_DECIBELS = 120
"""Of what outputs may be asked to keep."""


def level_set(levels: Levels) -> LevelSet:
    """A level set from its short form: `int8`, `uniform-15`, `codebook-15-31`, `ternary`, `binary`.

    The first number counts the magnitudes of a channel (by default 15, which is 5 bits), the
    second is the largest level of a codebook (by default 2·magnitudes + 1). A plain integer
    means `uniform`.

    Raises:
        DaqkfError: there is no such level set.
    """
    if isinstance(levels, LevelSet):
        return levels
    text = {"int8": "uniform-127"}.get(str(levels), str(levels))
    match = _LEVELS.fullmatch(f"uniform-{text}" if text.isdigit() else text)
    if match is None:
        raise DaqkfError(
            f"unknown level set '{levels}' (for example: int8, uniform-15, codebook-15-31, ternary)"
        )
    try:
        magnitudes = int(match[2]) if match[2] else _MAGNITUDES.get(match[1])
        return LevelSet.of(match[1], magnitudes, int(match[3]) if match[3] else None)
    except ValueError as error:
        raise DaqkfError(str(error)) from None


_KINDS: dict[Any, tuple[str, Any]] = {
    bool: ("True or False", (bool, np.bool)),
    int: ("a whole number", (int, np.integer)),
    float: ("a number", (int, float, np.integer, np.floating)),
    str: ("a text", (str,)),
    LevelSet: ("a level set", (LevelSet,)),
    Callable: ("a function", (Callable,)),
    Measure: ("a function", (Callable,)),
}
"""What an option's type is called in messages, and which values are of it."""


def _kinds(annotation: Any) -> list[Any]:
    """The types of which an option's value may be one."""
    alias = getattr(annotation, "__value__", annotation)
    if get_origin(alias) in (Union, UnionType):
        return [kind for part in get_args(alias) for kind in _kinds(part)]
    return [alias]


@cache
def _annotations(options: type) -> dict[str, list[Any]]:
    """The types of all options by name."""
    return {name: _kinds(kind) for name, kind in get_type_hints(options).items()}


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a value is of a type; a truth value is no number."""
    if kind is type(None):
        return value is None
    if get_origin(kind) is Sequence:
        parts = [part for argument in get_args(kind) for part in _kinds(argument)]
        several = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
        return several and all(any(_is_of(entry, part) for part in parts) for entry in value)
    if kind not in _KINDS:
        return True
    if isinstance(value, bool | np.bool) and kind is not bool:
        return False
    return isinstance(value, _KINDS[kind][1])


def _described(kinds: Sequence[Any]) -> str:
    """The types that an option may have, in words."""
    words = [_KINDS[kind][0] for kind in kinds if kind in _KINDS]
    words += ["several of these" for kind in kinds if get_origin(kind) is Sequence]
    return " or ".join(dict.fromkeys(words))


@dataclass(frozen=True, kw_only=True)
class Options:
    """What layers and networks have in common.

    Args:
        split: how many more int8 columns the array may get for features of large range, as a
            share of them, for inputs and for results behind relu, gelu or silu. 0 means none.
        accuracy: choose levels, in place of `levels`, for groups of channels at the fewest
            cycles such that the outputs keep this accuracy: a cosine like 0.99, or an SQNR like
            "25dB". Needs calibration data.
        cycles: choose them at the best accuracy such that a tile of tokens takes at most so many
            cycles. Needs calibration data.
        second_order: prune and round such that errors make up for each other in the outputs on
            the calibration data. By default where that has enough tokens for each feature.
        family: the kind of elements, in place of the target's: one of
            `daqkf.hw_targets.families.FAMILIES`, several that take turns ("running_sum,multiply",
            or a list), or `auto`, which picks one by predicted cycles times area.
        fabric: xcup or xcup-dsp, for whose elements `auto` goes by its areas (by default xcup),
            and on which elements multiply as suits it (by default as the target says).
        index_bits: bits of an item's row in a stream word, in place of the target's: 0 for whole
            addresses, or `auto`, which picks those of the least block RAM at 5 % more cycles or
            less.
    """

    split: float = SPLIT
    accuracy: float | str | None = None
    cycles: int | None = None
    second_order: bool | None = None
    family: str | Sequence[str] | None = None
    fabric: str | None = None
    index_bits: int | str | None = None

    def __post_init__(self) -> None:
        for name, kinds in _annotations(type(self)).items():
            value = getattr(self, name)
            if not any(_is_of(value, kind) for kind in kinds):
                raise DaqkfError(f"{name} must be {_described(kinds)}, not {shortened(value)}")

    @classmethod
    def of(cls, named: Mapping[str, Any], what: str) -> Self:
        """The options with these names and values.

        Args:
            named: by name.
            what: "layers" or "networks", for the message.

        Raises:
            DaqkfError: a name that is no option of these.
        """
        known = {entry.name for entry in fields(cls)}
        if surplus := sorted(set(named) - known):
            others = {
                entry.name for kind in (LayerOptions, NetworkOptions) for entry in fields(kind)
            }
            if surplus[0] in others:
                other = "single layers" if what == "networks" else "networks"
                own = "a network's file" if what == "networks" else "single layers"
                raise DaqkfError(f"{surplus[0]} is for {other}, not for {own}")
            raise DaqkfError(f"unknown option '{surplus[0]}' (known: {', '.join(sorted(known))})")
        return cls(**named)

    @property
    def elements(self) -> Elements:
        """The elements that the array is to have in place of its target's."""
        return Elements.of(self.family, self.fabric, self.index_bits)

    @property
    def choosing(self) -> bool:
        """Whether levels are chosen for an accuracy or for cycles.

        Raises:
            DaqkfError: for both.
        """
        if self.accuracy is not None and self.cycles is not None:
            raise DaqkfError("give accuracy or cycles, not both")
        return self.accuracy is not None or self.cycles is not None


def _names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names that are given as a list, or in a text with commas between them."""
    names = given or ()
    return tuple(names.split(",") if isinstance(names, str) else names)


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(Options):
    """How a network is compiled.

    Args:
        sparsity: the share of zeros that all kernels together are pruned to first.
        distillation: how often to go through the calibration data after pruning, and train what
            pruning kept towards the dense network's outputs; see
            `daqkf.passes.quantize.distillation`. A pass takes about six times as long as a run of
            the network.
        levels: the level set of all weights; see `level_set`.
        requantize: where the file is quantised, drop its scales and levels for new ones, which are
            found as for any other file. Without it, kernels keep the file's.
        target: a target's name, or a .toml file.
        fuse: merge kernels of the same activations, chain those that follow one another, and
            gate and normalise on the array where that pays.
        host_cycles: the array's cycles in which the host gates, or adds and normalises, one value.
        products: compute attention on the array, too: with its softmax where the target has a unit
            for that and it pays, else its products; and other products of activations.
        attention_levels: the largest level of attention's keys and values; 31 keep the cosine of
            MiniLM's embeddings at .998, 127 at .9996, for more words of streams.
        max_tokens: the longest sequence that attention and products are made for; by default 128,
            and where an encoder's whole attention is the array's, the longest one of the
            calibration.
        measure: what accuracy is of: a function of the outputs by name and the inputs by name that
            gives a vector for each sample, [B, F]; by default all outputs. See
            `daqkf.passes.quantize.accuracy`; if it has a `vjp`, sensitivities are of it.
        fixed: inputs of an ONNX file, by name, that are constants, so that what depends on them
            alone is computed, such as which branch of an If is taken.
        pre_norms: let the array normalise in front of products, as decoders do, where it has the
            unit and the room, and run what follows without the host: gates, and the products
            behind them. Only of those products does the host scale no rows; see `nn-pre-norm`.
        scale_rows: let the host scale each row that a kernel reads to the range of int8, and find a
            scale for each feature, and do biases and functions; see `nn-scale`. It is for values of
            very different sizes, as in sound. None does so for a file with levels of weights but
            not of activations, and keeps its weights as they are.
        wide_results: kernels, by name or with `*` for any characters, whose results become int16 in
            place of int8: several, or in a text with commas. Those of one product without a
            function can, which is what `scale_rows` leaves of layers. Needs a target with
            `wide_results`; a result takes two bytes of the traffic, and twice as long in the post
            unit. Language models have them in all kernels that can, if the target does and nothing
            else is said; none with an empty text.
        ranked: kernels, named as those of `wide_results`, whose largest results the array is to
            find: their integers are in the order of what they stand for, token by token. Nothing
            may follow such a product, and `scale_rows` has to be on. By default that of a language
            model's logits, on a target with a `top_k`; none with an empty text.
        row_exponents: whether the results of gates on the array, which another product reads, share
            an exponent by token: `auto`, if that leaves half of the noise, `on` or `off`. Only on a
            target with `row_exponents`, whose row unit then makes them twice.
        fallback: the signal-to-noise ratio in dB that each output is to keep: kernels that int8 is
            too coarse for stay on the host, those first that lose most by themselves on calibration
            data that nothing was fitted to.
        sequential: prune and round kernels one after another, each on what those before it leave
            and towards the outputs of the dense network; see `daqkf.passes.quantize.sequential`.
            It needs calibration data, and takes memory and time in proportion to the weights. By
            default with calibration data, for networks whose kernels read too much to be pruned
            together.
        model: the name of the model, if it has one that `named_model` knows. It changes nothing
            but that a report finds by it what to compare the folder with.
        jobs: processes that compile kernels side by side; None for one on each core, if the network
            is large enough. Everything but the time is the same for any number. A script that asks
            for more than one needs `if __name__ == "__main__":` around what it does.
        scheduler: the address of a Dask scheduler, `tcp://host:port`, whose workers compile the
            kernels in place of processes of this machine.
    """

    sparsity: float | None = None
    distillation: int = 0
    levels: Levels = "int8"
    requantize: bool = False
    target: str = "generic"
    fuse: bool = True
    host_cycles: float = HOST_CYCLES
    products: bool = False
    attention_levels: int = ATTENTION_LEVELS
    max_tokens: int | None = None
    measure: Measure | None = None
    fixed: Mapping[str, Any] | None = None
    pre_norms: bool = False
    scale_rows: bool | None = None
    wide_results: str | Sequence[str] | None = None
    ranked: str | Sequence[str] | None = None
    row_exponents: str = EXPONENTS[0]
    fallback: float | None = None
    sequential: bool | None = None
    model: str | None = None
    jobs: int | None = 1
    scheduler: str | None = None

    @property
    def loss(self) -> Loss:
        """By which accuracy is measured: that of cosines, unless an SQNR is asked for, or
        what is measured are logits of a language model."""
        if self.accuracy is not None:
            return Accuracy.parse(self.accuracy).loss
        return Divergence() if isinstance(self.measure, NextToken) else Loss()

    @property
    def wide_names(self) -> tuple[str, ...] | None:
        """The names of `wide_results`, if there are any."""
        return _names(self.wide_results) or None

    @property
    def ranked_names(self) -> tuple[str, ...]:
        """The names of `ranked`."""
        return _names(self.ranked)

    def cutting(self) -> dict[str, Any]:
        """What a folder keeps of the options, JSON-able: what kernels are made of."""
        found = {name: getattr(self, name) for name in _CUTTING}
        if self.fixed is not None:
            found["fixed"] = {name: np.asarray(one).tolist() for name, one in self.fixed.items()}
        return found

    def check(self) -> None:
        """Refuse options that do not go together, before any work.

        Raises:
            DaqkfError, ValueError: naming the option.
        """
        if isinstance(self.sparsity, Sequence):
            raise DaqkfError("several sparsities make variants, which only a single layer has")
        if self.sparsity is not None and not 0 <= self.sparsity < 1:
            raise DaqkfError(f"sparsity must be 0 <= sparsity < 1, not {self.sparsity:g}")
        if self.distillation < 0:
            raise DaqkfError(f"distillation must be at least 0, not {self.distillation}")
        if self.distillation and not self.sparsity:
            raise DaqkfError("distillation trains what pruning keeps: give sparsity, too")
        if not isinstance(self.levels, Levels):
            raise DaqkfError("several level sets make variants, which only a single layer has")
        level_set(self.levels)
        if self.row_exponents not in EXPONENTS:
            known = ", ".join(EXPONENTS)
            raise DaqkfError(f"unknown row_exponents '{self.row_exponents}' (known: {known})")
        if self.choosing and self.accuracy is not None:
            Accuracy.parse(self.accuracy)
        if self.sequential:
            self._check_sequential()
        if self.fallback is not None and not 0 < self.fallback < _MOST_DECIBELS:
            raise DaqkfError(
                f"fallback is a number of dB below {_MOST_DECIBELS}, not {self.fallback:g}"
            )
        if self.cycles is not None and self.cycles < 1:
            raise DaqkfError(f"cycles must be at least 1, not {self.cycles}")
        if self.jobs is not None and self.jobs < 1:
            raise DaqkfError(f"jobs must be at least 1, not {self.jobs}")
        if self.scheduler is not None and (self.jobs or 1) > 1:
            raise DaqkfError("give jobs or a scheduler, not both")

    @property
    def one_by_one(self) -> bool:
        """Whether nothing else is asked for that needs all kernels at once, or each by itself."""
        return not (self.choosing or self.fallback is not None or self.second_order is False)

    def _check_sequential(self) -> None:
        names = "accuracy", "cycles", "fallback"
        if surplus := [name for name in names if getattr(self, name)]:
            raise DaqkfError(f"sequential does not go with {surplus[0]}, which needs all kernels")
        if self.second_order is False:
            raise DaqkfError("sequential rounding is of second order")


@dataclass(frozen=True, kw_only=True)
class LayerOptions(Options):
    """How a layer `act(x·W + b)` is compiled.

    Args:
        bias: [N], in the units of x·W.
        activation: relu, gelu, gelu_tanh, silu, sigmoid or tanh.
        sparsity: prune to this share of zeros first.
        levels: the level set; see `level_set`. `auto-25dB` looks one up in the table of profiled
            weights that keeps this SQNR of the weights at the fewest cycles. Several level sets,
            or several sparsities, make as many variants of the layer, among which the array
            picks for each tile of tokens by the zeros of its activations.
        error_budget: the RMS error, in int8 steps of the output, that variants may have in
            the tiles that take them, by the calibration; the fastest that keeps it is taken.
        calibration: float activations [T, K] like those to come, which set the ranges of
            int8. Without them, 256 tokens drawn from a standard normal distribution.
        target: a target's name, a .toml file, or a Design whose array is to be used as it is.
        on_stage: sees the IR after each pass.
    """

    bias: Any = None
    activation: str | None = None
    sparsity: float | Sequence[float] | None = None
    levels: Levels | Sequence[Levels] = "int8"
    error_budget: float = BUDGET
    calibration: NDArray[Any] | None = None
    target: Any = "generic"
    on_stage: Any = None
