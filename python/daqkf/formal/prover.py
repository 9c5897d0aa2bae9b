# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Prove the circuits of a family, and look for bugs that are planted into them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from xdsl.dialects.builtin import ModuleOp

from daqkf.formal.bits import solver_library
from daqkf.formal.btor2 import TransitionSystem
from daqkf.formal.claims import Answer, merged
from daqkf.formal.datapath import TOP, build_datapath, transition_systems
from daqkf.formal.locating import build_locator, theorems
from daqkf.formal.mutations import joined, mutants
from daqkf.formal.spec import Options, spec_of
from daqkf.formal.theorems import INDUCTION, Bench, PipelineError, dot_products, every_weight
from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.passes.encode.coding import coding_of
from daqkf.support.errors import DaqkfError

SECONDS = 20.0
"""The time limit of one query to the solver."""

PRODUCTS = ((127, 1), (3, 3), (2, 4))
"""Pairs of a largest magnitude and a number of features. For each pair, streams of all vectors of
such weights are proved."""

FEWER_PRODUCTS = ((9, 2), *PRODUCTS[1:])
"""The same for the further circuits of a family, which differ only in their options."""

FEWEST_PRODUCTS = ((3, 2),)
"""The same where the proofs only have to find a bug."""

type Products = tuple[tuple[int, int], ...]


def array(family: str, options: Options) -> ArrayConfig:
    """An array whose widths suit a layer of 4095 features with 8-bit weights."""
    shape: dict[str, int | str | tuple[int, ...] | tuple[str, ...]] = {
        "pes": 1,
        "lanes": spec_of(family).lanes,
        "post_lanes": 1,
        "max_shift": 3,
        "activation_depth": 4096,
        "stream_depth": 2,
        "parameter_depth": 2,
        "result_depth": 2,
        "running_sum_width": 20,
        "accumulator_width": 28,
        "sum_width": 28,
        "families": (family,),
    }
    return ArrayConfig(**(shape | dict(options)))  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Circuit:
    """A circuit to prove: a family, and options of its array."""

    family: str
    options: Options = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The family and the options as text."""
        options = ", ".join(f"{name} {value}" for name, value in self.options.items())
        return f"{self.family} ({options})" if options else self.family

    @property
    def products(self) -> Products:
        """The weights whose streams are proved; a family's further circuits have fewer."""
        return FEWER_PRODUCTS if self.options else PRODUCTS


@dataclass(frozen=True)
class Hunt:
    """The result of the search for one planted bug."""

    bug: str
    answer: Answer

    @property
    def found(self) -> bool:
        """Whether a theorem was refuted, as it has to be."""
        return self.answer.verdict == "refuted"


def chosen(families: list[str] | None) -> list[str]:
    """Check the names of families; None stands for all families.

    Raises:
        DaqkfError: a family is unknown.
        ToolNotFoundError: the solver is missing.
    """
    solver_library()
    for name in families or ():
        if name not in FAMILIES:
            raise DaqkfError(f"unknown family '{name}' (known: {', '.join(FAMILIES)})")
    return families or list(FAMILIES)


def prove(
    circuit: Circuit, products: Products | None = None, seconds: float = SECONDS
) -> Iterator[Answer]:
    """Decide all theorems of a circuit, with one answer for each.

    `products` are those of the circuit unless others are given.
    """
    config = array(circuit.family, circuit.options)
    module = build_datapath(config, circuit.family)
    system = transition_systems(module, [TOP])[TOP]
    products = circuit.products if products is None else products
    yield from _theorems(circuit.family, config, system, products, seconds)
    if config.index_bits:
        locator = transition_systems(build_locator(config, circuit.family), [TOP])[TOP]
        yield merged("locate", theorems(circuit.family, config, locator), seconds)


def every_circuit(families: Iterable[str]) -> list[Circuit]:
    """All circuits of these families that are proved."""
    return [Circuit(name, options) for name in families for options in spec_of(name).circuits]


def planted_circuits(families: Iterable[str]) -> list[Circuit]:
    """The circuits of these families into which bugs are planted."""
    return [
        Circuit(name, options)
        for name in families
        for options in spec_of(name).circuits[: spec_of(name).planted]
    ]


def hunt(
    circuit: Circuit,
    limit: int | None = 1,
    seconds: float = SECONDS,
    products: Products = FEWEST_PRODUCTS,
) -> Iterator[Hunt]:
    """Plant each kind of bug at `limit` places of a circuit (None for all), and look for it.

    A bug counts as found as soon as one theorem is refuted.
    """
    family = circuit.family
    config = array(family, circuit.options)
    yield from _hunt(
        build_datapath(config, family),
        lambda system: _theorems(family, config, system, products, seconds),
        limit,
        spec_of(family).not_planted,
    )


def indexed_circuits(families: Iterable[str]) -> list[Circuit]:
    """The circuits of these families that have a stage to find addresses."""
    return [circuit for circuit in every_circuit(families) if "index_bits" in circuit.options]


def hunt_locator(
    circuit: Circuit, limit: int | None = 1, seconds: float = SECONDS
) -> Iterator[Hunt]:
    """Plant each kind of bug at `limit` places of the stage that finds addresses; look for it."""
    family = circuit.family
    config = array(family, circuit.options)

    def theorem(system: TransitionSystem) -> Iterator[Answer]:
        yield merged("locate", theorems(family, config, system), seconds)

    yield from _hunt(build_locator(config, family), theorem, limit)


def _hunt(
    circuit: ModuleOp,
    prove: Callable[[TransitionSystem], Iterator[Answer]],
    limit: int | None,
    without: Sequence[str] = (),
) -> Iterator[Hunt]:
    planted = {f"_{n}": m for n, m in enumerate(mutants(circuit, limit)) if m.kind not in without}
    module = joined({key: mutant.circuit for key, mutant in planted.items()})
    systems = transition_systems(module, [TOP + key for key in planted])
    for key, mutant in planted.items():
        answer: Answer | None = None
        for answer in prove(systems[TOP + key]):
            if answer.verdict == "refuted":
                break
        assert answer is not None
        yield Hunt(mutant.bug, answer)


def _theorems(
    family: str,
    config: ArrayConfig,
    system: TransitionSystem,
    products: Products,
    seconds: float,
) -> Iterator[Answer]:
    bench = Bench(family, config, spec_of(family), system)
    try:
        for most, features in products:
            most = min(most, coding_of(family).most(config))
            name = f"dot product, K = {features}, |w| ≤ {most}"
            yield merged(name, dot_products(bench, every_weight(most, features)), seconds)
        for name, theorem in INDUCTION.items():
            yield merged(name, theorem(bench), seconds)
    except PipelineError as error:
        yield Answer("pipeline", "refuted", 0.0, [str(error)])
