# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Random modules through pipelines of passes, each of which is validated.

Networks in `nn` go through what cuts kernels out of them and puts these together, float kernels in
`spaq` through quantisation down to programs, and integers through the passes of `dfke`. After each
pass the module verifies, reads back as it was printed, and computes what the pass promises
(`daqkf.compiler.validation`); integers are those of `formulas`, too.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from nn_networks import Builder
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    FunctionType,
    IntegerType,
    ModuleOp,
    Signedness,
    TensorType,
    f32,
    i8,
    i64,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.utils.arg_spec import parse_pipeline
from xdsl.utils.exceptions import DiagnosticException, PassFailedException

from daqkf.cli.opt import ALL_PASSES
from daqkf.compiler.validation import Validator, functions_of, inputs_of, results_of
from daqkf.dialects.dense import from_array
from daqkf.dialects.nn import ConstantOp as NnConstantOp
from daqkf.dialects.nn import (
    DequantizeOp,
    GatherOp,
    LayerNormOp,
    QuantizeOp,
    ReshapeOp,
    RmsNormOp,
    SliceOp,
    SoftmaxOp,
    TransposeOp,
)
from daqkf.dialects.nn.base import shape_of
from daqkf.dialects.spaq import ActivationOp, AddOp, ConstantOp, MatmulOp, ResidualOp
from daqkf.dialects.spaq.ops import activations
from daqkf.dialects.spaq.rows import GateOp
from daqkf.dialects.spaq.rows import LayerNormOp as RowNormOp
from daqkf.passes import GENERAL_PASSES
from daqkf.passes.options import instance
from daqkf.support.ir import make_context, module_text, parse_module
from fuzz import formulas
from fuzz.programs import Making, random_layers

CONTEXT = make_context()
FUNCTIONS = ("relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh")
Floats = NDArray[np.float32]


# Networks in nn.


class Network(Builder):
    """A random network under way: values by their shapes, which have the tokens [T, N] last."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.lead = rng.choice([1, 2, 3])
        self.rows = [int(n) for n in rng.integers(1, 4, self.lead)]
        self.width = int(rng.choice([2, 3, 4, 6, 8]))
        super().__init__((*self.rows, self.width))
        self.values: list[SSAValue] = [self.inputs[0]]

    def numbers(self, *shape: int, scale: float = 1.0) -> Floats:
        return (scale * self.rng.standard_normal(shape)).astype(np.float32)

    def one(self) -> SSAValue:
        """A value, mostly one of the last."""
        back = min(int(self.rng.geometric(0.5)), len(self.values))
        return self.values[-back]

    def features(self, value: SSAValue) -> int:
        return (shape_of(value) or ())[-1]

    def layer_of(self, value: SSAValue, width: int, function: str | None = None) -> SSAValue:
        """A layer, whose weights may be turned or cut out of others."""
        features, rng = self.features(value), self.rng
        weights = self.numbers(features, width, scale=features**-0.5)
        weights[rng.random(weights.shape) < rng.choice([0.0, 0.5, 0.9])] = 0
        match rng.integers(4):
            case 0:
                constant = self.constant(weights.T.copy())
                turned = TransposeOp(constant, [1, 0], self.tensor(weights.shape))
                product = self.matmul(value, self.add(turned))
            case 1:
                wide = np.concatenate([weights, self.numbers(features, 2)], axis=1)
                first, last = (
                    self.add(NnConstantOp(from_array(np.array([n], np.int64), i64)))
                    for n in (0, width)
                )
                kind = self.tensor(weights.shape)
                cut = SliceOp(self.constant(wide), (first, last), [1], [1], kind)
                product = self.matmul(value, self.add(cut))
            case _:
                product = self.matmul(value, self.constant(weights))
        if rng.random() < 0.7:
            bias = self.constant(self.numbers(width))
            product = self.apply("add", *((product, bias)[:: int(rng.choice([1, -1]))]))
        return product if function is None else self.function(function, product)

    def function(self, name: str, x: SSAValue) -> SSAValue:
        """A function by its name, or spelled out."""
        if self.rng.random() < 0.4:
            return self.apply(name, x)
        match name:
            case "relu":
                return self.apply("max", x, 0.0)
            case "sigmoid":
                one = self.apply("add", self.apply("exp", self.apply("neg", x)), 1.0)
                return self.apply("div", 1.0, one)
            case "silu":
                return self.apply("mul", x, self.apply("sigmoid", x))
            case "gelu":
                inner = self.apply("erf", self.apply("div", x, 2**0.5))
                return self.apply("mul", self.apply("mul", x, self.apply("add", inner, 1.0)), 0.5)
            case _:
                return self.apply(name, x)

    def norm(self, x: SSAValue) -> SSAValue:
        width = self.features(x)
        gamma, beta = self.constant(self.numbers(width) + 1), self.constant(self.numbers(width))
        kind = self.rng.random()
        if kind < 0.3:
            return self.add(RmsNormOp(x, gamma, 1e-5))
        if kind < 0.6:
            return self.add(LayerNormOp(x, gamma, beta, 1e-5))
        centred = self.apply("sub", x, self.reduce("mean", x))
        squares = self.reduce("mean", self.apply("mul", centred, centred))
        deviation = self.apply("sqrt", self.apply("add", squares, 1e-5))
        normal = self.apply("div", centred, deviation)
        return self.apply("add", self.apply("mul", normal, gamma), beta)

    def softmax(self, x: SSAValue) -> SSAValue:
        if self.rng.random() < 0.5:
            return self.add(SoftmaxOp(x, -1))
        e = self.apply("exp", self.apply("sub", x, self.reduce("max", x)))
        return self.apply("div", e, self.reduce("sum", e))

    def attention(self, x: SSAValue) -> SSAValue:
        """Of a batch of sequences [B, L, K], in heads."""
        batch, length, _ = shape_of(x) or ()
        heads, width = int(self.rng.choice([1, 2])), 4

        def turned(value: SSAValue, axes: Sequence[int]) -> SSAValue:
            shape = shape_of(value) or ()
            kind = self.tensor([shape[axis] for axis in axes])
            return self.add(TransposeOp(value, list(axes), kind))

        def shaped(value: SSAValue, shape: Sequence[int]) -> SSAValue:
            extents = NnConstantOp(from_array(np.array(shape, np.int64), i64))
            return self.add(ReshapeOp(value, self.add(extents), self.tensor(shape)))

        q, k, v = (
            turned(shaped(self.layer_of(x, heads * width), (batch, length, heads, width)), axes)
            for axes in ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3))
        )
        scores = self.apply("mul", self.matmul(q, k), 0.5)
        context = turned(self.matmul(self.softmax(scores), v), (0, 2, 1, 3))
        return self.layer_of(shaped(context, (batch, length, heads * width)), self.features(x))

    def rounded(self, x: SSAValue) -> SSAValue:
        """Levels of 8 bits and back, as files of quantised networks have them."""
        rng = self.rng
        signed = bool(rng.random() < 0.5)
        kind = i8 if signed else IntegerType(8, Signedness.UNSIGNED)
        zero = int(rng.choice([0, -128, 5] if signed else [0, 128, 100]))
        scale = self.constant(np.float32(rng.choice([0.02, 0.05, 0.1])))
        dtype = np.int8 if signed else np.uint8
        point = self.add(NnConstantOp(from_array(np.array(zero, dtype), kind)))
        shape = shape_of(x) or ()
        levels = QuantizeOp(x, (scale, point), len(shape) - 1, TensorType(kind, shape))
        factors, axis = (scale, point), len(shape) - 1
        return self.add(DequantizeOp(self.add(levels), factors, axis, self.tensor(shape)))

    def step(self) -> None:
        """Put one more piece to the network."""
        x, rng = self.one(), self.rng
        width = int(rng.choice([1, 2, 4, 5, 8]))
        function = [None, *FUNCTIONS][rng.integers(len(FUNCTIONS) + 1)]
        rank = len(shape_of(x) or ())
        match int(rng.integers(14)):
            case 0 | 1 | 2:
                found = self.layer_of(x, width, function)
            case 3:
                inner = self.layer_of(x, width, function)
                found = self.apply("add", self.layer_of(inner, self.features(x)), x)
                if rng.random() < 0.5:
                    found = self.norm(found)
            case 4:
                gate = self.function("silu", self.layer_of(x, width))
                parts = (gate, self.layer_of(x, width))[:: int(rng.choice([1, -1]))]
                found = self.apply("mul", *parts)
            case 5:
                found = self.norm(x)
            case 6 if rank == 3:
                found = self.attention(x)
            case 7:
                beside = [self.layer_of(x, width, function) for _ in range(2)]
                found = self.apply("add", *beside)
            case 8:
                found = self.softmax(x)
            case 9:
                places = rng.integers(0, self.features(x), int(rng.integers(1, 6)))
                shape = [*(shape_of(x) or ())[:-1], len(places)]
                indices = self.add(NnConstantOp(from_array(places.astype(np.int64), i64)))
                found = self.add(GatherOp(x, indices, rank - 1, self.tensor(shape)))
            case 10:
                factor = self.constant(self.numbers(self.features(x)))
                found = self.apply(str(rng.choice(["mul", "add", "sub", "max"])), x, factor)
            case 11:
                found = self.rounded(self.layer_of(self.rounded(x), width, function))
            case 12 if rank == 3:
                turned = [0, 2, 1]
                shape = [(shape_of(x) or ())[axis] for axis in turned]
                found = self.matmul(x, self.add(TransposeOp(x, turned, self.tensor(shape))))
            case _:
                found = self.function(str(rng.choice(FUNCTIONS)), x)
        self.values.append(found)


def random_network(rng: np.random.Generator) -> ModuleOp:
    """A function `main` of one tensor."""
    network = Network(rng)
    for _ in range(int(rng.integers(1, 7))):
        network.step()
    results = [network.values[-1]]
    if rng.random() < 0.3:
        results.append(network.one())
    return network.module(*results)


def network_passes(rng: np.random.Generator, samples: Path) -> list[str]:
    """A pipeline of `nn`, as it is named or with passes left out or repeated."""
    given = f'samples="{samples}"'
    target = str(rng.choice(["generic", "wide-norm", "wide-norm", "wide-banks"]))
    cycles = float(rng.choice([4.0, 1000.0]))
    spec = [
        "canonicalize",
        "nn-dequantize",
        "canonicalize",
        "nn-raise",
        "nn-outline",
        f"nn-gate{{target={target} host-cycles={cycles}}}",
        f"nn-attend{{target={target} tokens=8}}",
        f"nn-merge{{target={target}}}",
        f"nn-chain{{target={target}}}",
        f"nn-normalize{{target={target} host-cycles={cycles}}}",
        f"nn-chain{{target={target}}}",
        "canonicalize",
        "cse",
        f"nn-attention{{{given} target={target}}}",
        f"nn-product{{{given}}}",
    ]
    if rng.random() < 0.3:
        del spec[rng.integers(len(spec))]
    if rng.random() < 0.2:
        spec.insert(int(rng.integers(len(spec))), str(rng.choice(["cse", "canonicalize"])))
    return spec


# Float kernels in spaq.


def random_kernel(rng: np.random.Generator) -> ModuleOp:
    """A function `layer` of f32 [T, K] → [T, N]: layers with what the array can put behind them."""
    features = int(rng.integers(1, 12))
    block = Block(arg_types=[activations(features, f32)])
    value: SSAValue = block.args[0]

    def add(op: Any) -> SSAValue:
        block.add_op(op)
        return op.results[0]

    def constant(*shape: int, scale: float = 1.0) -> SSAValue:
        values = scale * rng.standard_normal(shape)
        values[rng.random(shape) < rng.choice([0.0, 0.3, 0.8])] = 0
        return add(ConstantOp(from_array(values.astype(np.float32), f32)))

    for _ in range(int(rng.integers(1, 4))):
        kept, count = value, features
        adds = rng.random() < 0.3
        channels = count if adds else int(rng.integers(1, 10))
        gates = not adds and rng.random() < 0.15
        channels += channels % 2 if gates else 0
        weights = constant(count, channels, scale=count**-0.5)
        value = add(MatmulOp(value, weights, activations(channels, f32)))
        if rng.random() < 0.7:
            value = add(AddOp(value, constant(channels)))
        if adds:
            value = add(ResidualOp(value, kept))
        if gates:
            value, channels = add(GateOp("silu", value)), channels // 2
        elif adds and rng.random() < 0.5 and channels > 1:
            value = add(RowNormOp(value, constant(channels), constant(channels), 1e-5))
        elif rng.random() < 0.7:
            value = add(ActivationOp(str(rng.choice(FUNCTIONS)), value))
        features = channels
    block.add_op(ReturnOp(value))
    kind = FunctionType.from_lists(list(block.arg_types), [value.type])
    module = ModuleOp([FuncOp("layer", kind, Region(block))])
    module.verify()
    return module


def dispatch_passes(rng: np.random.Generator, samples: Path) -> list[str]:
    """From float layers to programs of variants."""
    kinds = str(
        rng.choice(["kinds=uniform,uniform magnitudes=127,3", "kinds=uniform magnitudes=15"])
    )
    target = str(rng.choice(["generic", "wide", "tiny"]))
    return [
        f'spaq-calibrate{{samples="{samples}"}}',
        f'dfke-dispatch{{samples="{samples}" {kinds} target={target} buckets=4}}',
        "dfke-specialize-bitwidth",
        f"dfke-schedule{{target={target}}}",
        "lower-dfke-to-rpea",
    ]


def kernel_passes(rng: np.random.Generator, samples: Path) -> list[str]:
    """From float layers to programs."""
    given = f'samples="{samples}"'
    options = [
        *("", "split=0.3", "split=0", "kind=codebook magnitudes=7", "kind=ternary", "kind=binary"),
        *("magnitudes=31", "method=optimal magnitudes=3", "cycles-weight=1 magnitudes=15", given),
    ]
    target = str(rng.choice(["generic", "wide-norm", "tiny", "wide", "wide-banks"]))
    family = str(rng.choice(["", "", " family=multiply", " family=auto", " family=dense"]))
    spec = [
        f"spaq-calibrate{{{given} clip={rng.choice(['absmax', 'mse'])} "
        f"granularity={rng.choice(['channel', 'tensor'])}}}",
        "spaq-analyze",
        f"spaq-quantize{{{options[rng.integers(len(options))]}}}",
        "canonicalize",
        "dfke-fuse",
        "dfke-specialize-bitwidth",
        f"dfke-schedule{{target={target}{family if target != 'wide-norm' else ''}}}",
        "dfke-chain",
        "lower-dfke-to-rpea",
        "rpea-validate",
    ]
    if rng.random() < 0.3:
        spec.insert(0, f"spaq-prune{{sparsity={rng.choice([0.25, 0.5, 0.9])}}}")
    if rng.random() < 0.2:
        spec.insert(-7, f"spaq-select-levels{{sqnr={rng.choice([20, 30])}}}")
    return [step.replace("{}", "") for step in spec]


def integer_passes(rng: np.random.Generator) -> list[str]:
    """From integers to programs."""
    target = str(rng.choice(["generic", "wide-norm", "wide", "wide-banks"]))
    return [
        "canonicalize",
        "dfke-fuse",
        "dfke-specialize-bitwidth",
        f"dfke-schedule{{target={target}}}",
        "dfke-chain",
        "canonicalize",
        "lower-dfke-to-rpea",
        "rpea-validate",
    ]


# Cases.


@dataclass(frozen=True)
class Find:
    """A pass that broke its promise."""

    kind: str
    seed: int
    pass_name: str
    problem: str
    report: str = ""
    """A module that shows it."""


@dataclass
class Tally:
    """Counts of a run."""

    modules: int = 0
    passes: int = 0
    compared: int = 0
    refused: int = 0
    by_formulas: int = 0
    unvalidated: int = 0
    finds: list[Find] = field(default_factory=list)


def parsed(spec: str) -> ModulePass:
    """The pass of a spec, with its options."""
    known = ALL_PASSES | GENERAL_PASSES
    (found,) = parse_pipeline(spec)
    return instance(known[found.name](), found)


def run_case(kind: str, seed: int, tally: Tally, folder: Path) -> Find | None:
    """Make the module of a case, and run its pipeline; the find, if there is one."""
    rng = np.random.default_rng((seed, sorted(KINDS).index(kind)))
    module, spec = KINDS[kind](rng, folder)
    tally.modules += 1
    return run_pipeline(kind, seed, module, spec, tally)


def run_pipeline(
    kind: str, seed: int, module: ModuleOp, spec: Sequence[str], tally: Tally
) -> Find | None:
    """Run a pipeline, and validate each pass; the find, if there is one."""

    stumbles: list[str] = []

    def left_out(name: str, text: str) -> None:
        tally.unvalidated += 1
        if "Error: " in text:
            stumbles.append(text)

    validator = Validator(seed % (1 << 31), left_out)
    for text in spec:
        step = parsed(text)
        before = module.clone()
        find = partial(Find, kind, seed, text)
        try:
            step.apply(CONTEXT, module)
            tally.passes += 1
        except PassFailedException:
            tally.refused += 1
            return None
        except Exception as error:
            problem = f"{type(error).__name__}: {str(error)[:200]}"
            return find(problem, module_text(before))
        try:
            module.verify()
            again = parse_module(CONTEXT, printed := module_text(module), "printed")
        except (DiagnosticException, ValueError) as error:
            problem = f"what it makes does not verify: {str(error).strip().splitlines()[-1][:200]}"
            return find(problem, module_text(before))
        if module_text(again) != printed:
            return find("what it makes is not read as it is printed", module_text(before))
        found = validator.after(step, before, module)
        if found is not None:
            return find(str(found), found.report())
        if stumbles:
            return find(stumbles[0], module_text(before))
        if (problem := _other_integers(step, module, seed, tally)) is not None:
            return find(problem, module_text(before))
    tally.compared += validator.compared
    return None


def _other_integers(step: ModulePass, module: ModuleOp, seed: int, tally: Tally) -> str | None:
    """Where the integers of a quantised layer are not those of the formulas."""
    if step.name not in ("spaq-quantize", "canonicalize"):
        return None
    for function in functions_of(module):
        ops = list(function.body.block.ops)
        arguments = function.body.block.args
        whole = any(op.name == "spaq.requantize" for op in ops) and all(
            op.name in formulas.RULES or op.name == "func.return" for op in ops
        )
        if not whole or len(arguments) != 1:
            continue
        inputs = inputs_of(function, seed % (1 << 31))
        name = function.sym_name.data
        (y,) = results_of(module, name, inputs)
        expected = np.array(formulas.evaluate(module, name, inputs[0].tolist()))
        tally.by_formulas += 1
        if not np.array_equal(y, expected.astype(y.dtype)):
            return f"the integers of @{name} are not those of the formulas"
    return None


def _network(rng: np.random.Generator, folder: Path) -> tuple[ModuleOp, list[str]]:
    module = random_network(rng)
    (shape,) = (shape_of(value) for value in functions_of(module)[0].body.block.args)
    path = folder / "inputs.npz"
    # The leading extent is fixed: several inputs would be several files.
    np.savez(path, input0=rng.standard_normal(shape or ()).astype(np.float32))
    return module, network_passes(rng, path)


def _kernel(rng: np.random.Generator, folder: Path) -> tuple[ModuleOp, list[str]]:
    module = random_kernel(rng)
    (function,) = functions_of(module)
    features = shape_of(function.body.block.args[0])
    assert features is not None
    x = rng.standard_normal((64, features[1]))
    if rng.random() < 0.3:
        x[:, rng.integers(features[1])] *= 30
    np.save(path := folder / "samples.npy", x.astype(np.float32))
    passes = dispatch_passes if rng.random() < 0.15 else kernel_passes
    return module, passes(rng, path)


def _integers(rng: np.random.Generator, folder: Path) -> tuple[ModuleOp, list[str]]:
    making = Making(layers=3, features=16, channels=12, residuals=True, normalizes=True, gates=True)
    if rng.random() < 0.2:
        making = Making(features=8, attends=6, residuals=True)
    return random_layers(rng, making), integer_passes(rng)


KINDS: dict[str, Callable[[np.random.Generator, Path], tuple[ModuleOp, list[str]]]] = {
    "network": _network,
    "kernel": _kernel,
    "integers": _integers,
}


def fuzz(
    seed: int,
    until: Callable[[Tally], bool],
    progress: Callable[[Tally], None],
    kinds: Sequence[str] = tuple(KINDS),
) -> Tally:
    """Run cases of all kinds in turns, until the tally says that it is enough."""
    tally, case = Tally(), seed << 32
    seen: set[tuple[str, str]] = set()
    with tempfile.TemporaryDirectory(prefix="daqkf-fuzz-") as folder:
        try:
            while not until(tally):
                for kind in kinds:
                    find = run_case(kind, case, tally, Path(folder))
                    if find is not None:
                        key = (find.pass_name.split("{")[0], find.problem[:40])
                        if key not in seen:
                            seen.add(key)
                            tally.finds.append(find)
                            print(f"  {kind} {case}: {find.pass_name}: {find.problem[:300]}")
                case += 1
                progress(tally)
        except KeyboardInterrupt:
            pass
    return tally


def summary(tally: Tally, seconds: float) -> str:
    """The line that a run ends with."""
    return (
        f"passes: {tally.modules} modules in {seconds:.0f} s, {tally.passes} passes run, "
        f"{tally.compared} functions compared, {tally.by_formulas} with the formulas, "
        f"{tally.refused} refused, {tally.unvalidated} passes not validated; "
        f"{len(tally.finds)} finds"
    )
