# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The Python face of the compiler: `compile`, which gives a `Design` or a `CompiledNetwork`."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike
from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.design import Design, StageCallback
from daqkf.compiler.file_suffixes import LAYER_SUFFIXES, is_named, is_network
from daqkf.compiler.formats import load_weights
from daqkf.compiler.layer import compile_layer
from daqkf.compiler.options import LayerOptions, Levels, NetworkOptions, Options
from daqkf.passes.defaults import ATTENTION_LEVELS, BUDGET, EXPONENTS, HOST_CYCLES, SPLIT
from daqkf.passes.progress import Progress, silent
from daqkf.passes.quantize.accuracy import Measure
from daqkf.support.errors import DaqkfError, shortened

if TYPE_CHECKING:
    from daqkf.compiler.compiled_network import CompiledNetwork


@overload
def compile(  # pyright: ignore[reportOverlappingOverload]
    weights: "str | PathLike[str] | ModuleOp",
    *,
    calibration: str | Mapping[str, ArrayLike] | Sequence[Mapping[str, ArrayLike]] | None = None,
    sparsity: float | None = None,
    levels: Levels = "int8",
    target: str = "generic",
    accuracy: float | str | None = None,
    cycles: int | None = None,
    second_order: bool | None = None,
    split: float = SPLIT,
    family: str | Sequence[str] | None = None,
    fabric: str | None = None,
    index_bits: int | str | None = None,
    distillation: int = 0,
    requantize: bool = False,
    fixed: Mapping[str, Any] | None = None,
    pre_norms: bool = False,
    scale_rows: bool | None = None,
    wide_results: str | Sequence[str] | None = None,
    ranked: str | Sequence[str] | None = None,
    row_exponents: str = EXPONENTS[0],
    fallback: float | None = None,
    sequential: bool | None = None,
    fuse: bool = True,
    host_cycles: float = HOST_CYCLES,
    products: bool = False,
    attention_levels: int = ATTENTION_LEVELS,
    max_tokens: int | None = None,
    measure: Measure | None = None,
    model: str | None = None,
    jobs: int | None = 1,
    scheduler: str | None = None,
    device: str | None = None,
    memory: str | None = None,
    tokens: int | None = None,
    progress: Progress = ...,
) -> "CompiledNetwork": ...


@overload
def compile(
    weights: Any,
    *,
    calibration: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    activation: str | None = None,
    sparsity: float | Sequence[float] | None = None,
    levels: Levels | Sequence[Levels] = "int8",
    target: str | Design = "generic",
    accuracy: float | str | None = None,
    cycles: int | None = None,
    second_order: bool | None = None,
    split: float = SPLIT,
    family: str | Sequence[str] | None = None,
    fabric: str | None = None,
    index_bits: int | str | None = None,
    error_budget: float = BUDGET,
    on_stage: StageCallback | None = None,
    device: str | None = None,
    memory: str | None = None,
    tokens: int | None = None,
) -> Design: ...


def compile(
    weights: Any,
    *,
    calibration: Any = None,
    device: str | None = None,
    memory: str | None = None,
    tokens: int | None = None,
    **named: Any,
) -> "Design | CompiledNetwork":
    """Compile a layer of a neural network, or a whole one, for an array.

    Args:
        weights: of a layer: a matrix [K, N], as a NumPy array, nested lists, a SciPy sparse matrix,
            or a .npy or .npz file of such. Floats are quantised; integers are levels already. For a
            network: the path of a file that `daqkf.compiler.formats.load_network` reads, such as
            an ONNX model; an `onnx.ModelProto`; a PyTorch module, which is exported with its
            calibration data; a module of `nn`; or "minilm" or "smollm2", which bring calibration
            data. Language models are for the target wide-memory if none is given.
        calibration: activations like those to come, which set the ranges of int8: [T, K] of a
            layer; of a network its inputs by name, or several batches of them. An array will do for
            a network of one input.
        device: an FPGA, one of `daqkf.hw_targets.device.device_names()`, for which
            `daqkf.planning.plan` chooses the organisation of the array: its elements, lanes and
            memories, in place of those of the target (by default wide-memory).
        memory: of the device, `NAME` or `NAMExCHANNELS`; by default its usual one.
        tokens: in flight on the device, 128 by default.

    Raises:
        DaqkfError: bad weights, files, names or options, or what does not fit the target or the
            device.
    """
    from daqkf.planning import fitting

    wish = fitting.wish(named, device, memory, tokens)
    if wish is None:
        return _compiled(weights, calibration, named)
    named = {"target": fitting.TARGET} | named
    compiled = _compiled(weights, calibration, named)
    found = wish.plan(compiled)
    if not isinstance(compiled, Design):
        return fitting.fitted(found, compiled, named.get("progress", silent))
    named["target"] = fitting.target_of(found, compiled)
    return _compiled(weights, calibration, named)


def _compiled(
    weights: Any, calibration: Any, named: Mapping[str, Any]
) -> "Design | CompiledNetwork":
    """A layer or a network for the array of a target; see `compile`."""
    if isinstance(weights, str) and is_named(weights):
        from daqkf.compiler.named_models import named_model

        model = named_model(weights)
        calibration = model.calibration if calibration is None else calibration
        own = {"measure": model.measure, "model": weights}
        return _network(model.source, calibration, own | dict(named))
    if isinstance(weights, str | PathLike):
        path = Path(weights)
        if path.suffix not in LAYER_SUFFIXES or is_network(str(path)):
            return _network(path, calibration, named)
        weights = load_weights(path)
    elif (source := _network_of(weights, calibration)) is not None:
        return _network(source, calibration, named)
    if isinstance(calibration, Mapping):
        raise DaqkfError("calibration of a layer is an array [T, K], not arrays by name")
    return compile_layer(weights, calibration=calibration, **named)


def _network(source: Any, calibration: Any, named: Mapping[str, Any]) -> "CompiledNetwork":
    from daqkf.compiler import language_models
    from daqkf.compiler.network import compile_and_measure

    progress = named.get("progress", silent)
    options = {name: value for name, value in named.items() if name != "progress"}
    options = {"target": language_models.default_target(source)} | options
    chosen = NetworkOptions.of(options, "networks")
    if isinstance(source, Path) and language_models.is_language_model(source):
        return language_models.compile_and_measure(
            source, chosen, calibration=calibration, progress=progress
        )[0]
    return compile_and_measure(source, chosen, calibration=calibration, progress=progress)[0]


def _network_of(value: Any, calibration: Any) -> ModuleOp | None:
    """The network that a value is, as a module of `nn`; None for what may be a matrix.

    Raises:
        DaqkfError: a model of a kind that cannot be read here.
    """
    if isinstance(value, ModuleOp):
        return value
    from daqkf.compiler import models

    for kind in type(value).__mro__:
        place = f"{kind.__module__}.{kind.__qualname__}"
        if place in models.KINDS:
            return models.KINDS[place](value, calibration)
    is_array = hasattr(value, "__array__") or hasattr(value, "toarray")
    if not is_array and np.asarray(value, object).ndim == 0:
        raise DaqkfError(
            f"weights must be a matrix, or a network's file or model, not {shortened(value)}"
        )
    return None


def _options_of(options: type[Options]) -> list[inspect.Parameter]:
    """The options of layers or networks as parameters."""
    return [
        inspect.Parameter(
            entry.name, inspect.Parameter.KEYWORD_ONLY, default=entry.default, annotation=entry.type
        )
        for entry in fields(options)
        if entry.name != "calibration"
    ]


def _signature() -> inspect.Signature:
    """The options of layers and networks by name, for `help` and editors."""
    own = [
        entry
        for entry in inspect.signature(compile).parameters.values()
        if entry.kind is not entry.VAR_KEYWORD
    ]
    every = {
        entry.name: entry for kind in (NetworkOptions, LayerOptions) for entry in _options_of(kind)
    }
    return inspect.Signature([*own, *every.values()])


def _arguments(documented: Any) -> list[str]:
    """The lines about arguments in a docstring."""
    text = inspect.cleandoc(documented.__doc__)
    _, _, arguments = text.partition("Args:\n")
    return arguments.split("\n\n")[0].splitlines()


def _document() -> str:
    """The docstring of `compile`, with what its options mean for layers and for networks."""
    begin, _, end = inspect.cleandoc(compile.__doc__ or "").partition("\n\nRaises:")
    lines = [begin, *_arguments(Options)]
    for options, what in ((LayerOptions, "Of a layer"), (NetworkOptions, "Of a network")):
        lines += ["", f"{what}:"]
        own = "\n".join(_arguments(options))
        lines.append(own)
    return "\n".join([*lines, f"\nRaises:{end}"])


compile.__signature__ = _signature()  # pyright: ignore[reportFunctionMemberAccess]
compile.__doc__ = _document()
