# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The organisation of an array, as far as a schedule depends on it."""

from dataclasses import dataclass, field, fields, replace
from typing import Self

from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.numerics import MAX_REACH
from daqkf.hw_targets.results import top_k_rows

ORGANISATION = (
    "pes",
    "lanes",
    "post_lanes",
    "max_shift",
    "items",
    "families",
    "weight_bits",
    "multiplier",
    "index_bits",
    "memory_bits",
    "memory_ports",
    "activation_memory",
    "result_memory",
    "partial_memory",
    "table_memory",
    "stream_memory",
    "stream_code",
    "shared_words",
    "row_solvers",
    "program_bits",
    "post_multiplier",
    "features_together",
    "reads_ahead",
)
"""What a schedule and the array that runs it must have in common."""

MULTIPLIERS = ("booth", "dsp", "packed")
"""How lanes multiply: rows of radix-4 digits for LUTs, a product for a DSP block, or two lanes'
products in one DSP block of 27×18 bits."""

POST_MULTIPLIERS = ("luts", "dsp")
"""How the post unit multiplies sums: rows of radix-4 digits in LUTs, or for each lane a product for
a DSP block."""

FEATURES_TOGETHER = (1, 2, 4, 8)
"""Features of a token that a beat can bring. A row of eight is as wide as UltraRAM, and one of four
as block RAM of two ports, for a single lane."""

LANES_TOGETHER = 8
"""The most lanes of arrays whose beats bring several features: others take as many activations as
their results can give."""

MAX_TOP_K = 64
"""Beyond it the comparators of a lane are larger than the lane."""

WEIGHT_BITS = ((8,), (4,), (4, 8))
"""Widths of weights that the multiply family can have."""

ITEM_COUNTS = (1, 2, 4, 8)
"""Items that a word of the running-sum family can have."""

UNITS = ("normalizes", "gates", "softmax")
"""The options of a machine that give its row unit something to do."""

MEMORY_WORDS = 1 << 24
"""The most words of a PE's streams in a program that external memory holds."""

MAX_SHIFT = 7
"""Of a gap step: 2^7 levels are beyond the largest level."""

RAM_STYLES = ("block", "ultra", "distributed")
"""What memories can be made of: block RAM, UltraRAM of 4096 rows of 72 bits, or the LUTs that can
store, of 64 rows of a bit each."""

RAM_CHOICES = (
    "activation_memory",
    "result_memory",
    "partial_memory",
    "table_memory",
    "stream_memory",
)
"""The options of a machine that say what a memory is made of."""

STREAM_CODES = ("plain", "varint")
"""How streams lie in external memory: words as they are, side by side, or the gaps between their
rows in as few bits as they need (`varint`)."""

_CODED_ITEMS = 2
"""A word without items says two things of itself in the flags of its items."""

MEMORY_BITS = (0, 64, 128, 256, 512)
"""Bits that a memory port can have; without any, streams are in block RAM."""

PROGRAM_BITS = (32, 64, 128, 256)
"""Bits that programs can be loaded by in a cycle; the most have room for two rows of parameters."""

_OPTIONAL_DEPTHS = ("partial_depth", "residual_depth", "operand_depth")

_MAY_BE_ZERO = (
    *("max_shift", "index_bits", "memory_bits", "queue", "shared_words", "wide_results", "causal"),
    *("rms_norms", "epsilon_width", "row_exponents", "top_k", "reads_ahead"),
    *_OPTIONAL_DEPTHS,
    *UNITS,
)

_MOST = {"pes": 1024, "lanes": 1024, "memory_ports": 8}
"""Beyond these a single array is no longer one circuit anybody would build."""


@dataclass(frozen=True)
class Machine:
    """Processing elements, lanes and memories.

    For a target the depths are limits; an array's own are exact (`config.ArrayConfig`).

    Raises:
        ValueError: a count below 1, a depth that is not a power of two, lanes the post unit
            cannot divide, an unknown family, or lanes that a family cannot pair.
    """

    pes: int
    """Processing elements P, each with its own stream."""
    lanes: int
    """Tokens T of a tile, to which one item is broadcast."""
    post_lanes: int
    """Lanes the post-processing unit takes in a cycle; divides `lanes`."""
    max_shift: int
    """The largest gap step is `2^max_shift` levels."""
    activation_depth: int
    """Features that the activation memories hold. The last row is kept zero, so K are fewer."""
    stream_depth: int
    """Words of each PE's stream memory, or with `memory_bits`, of the FIFO in its place."""
    parameter_depth: int
    """Outputs of a PE."""
    result_depth: int
    """Rows of the result memory: outputs N of a kernel."""
    items: int = field(default=2, kw_only=True)
    """Items of a running-sum or ternary word, all of which join the sum in one cycle."""
    families: tuple[str, ...] = field(default=("running_sum",), kw_only=True)
    """The families of PE 0, 1, …; a shorter list repeats."""
    weight_bits: tuple[int, ...] = field(default=(8,), kw_only=True)
    """Bits of a weight of the multiply family: 8 with one item a word, 4 with two, or both, and
    each word says which."""
    multiplier: str = field(default="booth", kw_only=True)
    """How the multiply and dense families multiply: one of `MULTIPLIERS`."""
    index_bits: int = field(default=0, kw_only=True)
    """Bits that a stream word has for an item's row (`index_coding`); 0: a whole address."""
    partial_depth: int = field(default=0, kw_only=True)
    """Rows of partial sums, one for each lane. With any, kernels of more features than the
    activation memories have rows run in parts; 0: there are none."""
    residual_depth: int = field(default=0, kw_only=True)
    """Rows of activations that are kept, to be added to the sums of a kernel later in a chain; 0:
    there are none."""
    normalizes: bool = field(default=False, kw_only=True)
    """Whether the row unit normalises the results of a kernel, token by token, in a chain."""
    gates: bool = field(default=False, kw_only=True)
    """Whether it multiplies neighbouring results: gates, and what they let through."""
    row_exponents: int = field(default=0, kw_only=True)
    """Bits by which the row unit can make the results of a token finer, by an exponent that they
    share and that the next kernel's sums take back (`numerics.requantize_rows`); 0: it does not.
    """
    softmax: bool = field(default=False, kw_only=True)
    """Whether it turns scores into their softmax; only if it normalises, too."""
    causal: bool = field(default=False, kw_only=True)
    """Whether a softmax can be causal: the query of each lane sees the keys of its token and of
    those before (`numerics.visible_keys`)."""
    row_solvers: int = field(default=1, kw_only=True)
    """Tokens that the row unit solves at a time. They divide `post_lanes`: each solver has the
    tokens of as many neighbouring lanes, one after another. A unit that does not normalise solves
    nothing."""
    operand_depth: int = field(default=0, kw_only=True)
    """Words of each PE's operand memory, with which a chain multiplies results by results: those of
    attention (`operands`); 0: there is none."""
    banks: int = field(default=1, kw_only=True)
    """Program memories: with two, a program is loaded and checked while another one runs, and one
    that is refused leaves it in place. The depths are those of a bank."""
    memory_bits: int = field(default=0, kw_only=True)
    """Bits of the data of each AXI4 port by which streams are read from external memory
    (`streams`); 0: streams are in block RAM."""
    memory_ports: int = field(default=1, kw_only=True)
    """Such ports. They divide the PEs: each brings the streams of as many neighbouring ones."""
    stream_code: str = field(default="plain", kw_only=True)
    """How streams lie in external memory: one of `STREAM_CODES`."""
    post_multiplier: str = field(default="luts", kw_only=True)
    """How the post unit multiplies: one of `POST_MULTIPLIERS`."""
    program_bits: int = field(default=32, kw_only=True)
    """Bits of the beats of program images, of which the array takes one a cycle: one of
    `PROGRAM_BITS`. A row of a table or of a stream begins with a beat of its own, and so does one
    of parameters, or each two of them where beats are the widest."""
    activation_memory: str = field(default="block", kw_only=True)
    """What the activation memories are made of: one of `RAM_STYLES`. Of block RAM and UltraRAM, two
    reads of an element share a memory; LUTs have one for each read."""
    result_memory: str = field(default="block", kw_only=True)
    """What the result memory is made of: one of `RAM_STYLES`, as are the next two."""
    partial_memory: str = field(default="block", kw_only=True)
    """What the memory of partial sums is made of."""
    table_memory: str = field(default="block", kw_only=True)
    """What the tables of activation functions are made of, of which each post lane has one."""
    stream_memory: str = field(default="block", kw_only=True)
    """What the stream memories are made of, or the FIFOs in their place."""
    shared_words: bool = field(default=False, kw_only=True)
    """Whether the word that ends an output of a running-sum stream has the first items of the next
    one, and steps take R with either sign (`families.running_sum`): fuller words."""
    wide_results: bool = field(default=False, kw_only=True)
    """Whether a program's results may be wide, int16 in two rows each (`results`)."""
    features_together: int = field(default=1, kw_only=True)
    """Neighbouring features of each token that a beat of activations brings, and rows of results
    that one takes away, one of `FEATURES_TOGETHER`. A row of the activation memories has as many,
    of which an item takes one. It is for few lanes, whose activations and results would take longer
    to come and go than to use."""
    top_k: int = field(default=0, kw_only=True)
    """Results that a program may give of all its wide ones: the largest of each token, with their
    numbers (`numerics.top_k`); 0: every program gives all of them."""
    reads_ahead: bool = field(default=False, kw_only=True)
    """Whether the readers of external memory go on with the streams of the next program behind the
    last tile of one, if they know which tile that is. It is for programs of one tile, or few."""
    queue: bool = field(default=False, kw_only=True)
    """Whether the array's system takes programs and activations from external memory, job by job
    as a queue there says (`descriptors`), in place of streams. The array itself is the same."""

    def __post_init__(self):
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, int):
                _require_count(entry.name, value)
        self._require_choices()
        self._require_families()
        if self.index_bits:
            self._require_indexed()
        for name in dict.fromkeys(self.families):
            FAMILIES[name].word.require(self)
        self._require_memory()
        self._require_code()
        if self.queue:
            self._require_queue()
        if self.post_lanes % self.row_solvers:
            raise ValueError(
                f"row_solvers {self.row_solvers} do not divide {self.post_lanes} post_lanes"
            )
        if self.softmax and not self.normalizes:
            raise ValueError("a row unit with softmax also normalises, as it divides for both")
        if self.causal and not self.softmax:
            raise ValueError("causal is for a row unit with softmax")
        if self.operand_depth:
            self._require_operands()
        if self.row_exponents:
            self._require_exponents()
        if self.features_together > 1:
            self._require_together()
        if self.top_k:
            self._require_top_k()
        if self.reads_ahead and (not self.memory_bits or self.banks < 2 or self.operand_depth):
            raise ValueError(
                "reads_ahead is for arrays with memory_bits and banks = 2, without operand memories"
            )

    def without_units(self) -> Self:
        """The machine with nothing on rows of results: no row unit, no attention, no residuals."""
        return replace(
            self,
            operand_depth=0,
            residual_depth=0,
            causal=False,
            row_exponents=0,
            **dict.fromkeys(UNITS, False),
        )

    def _require_choices(self) -> None:
        """Check the numbers and names of which only some are possible."""
        if self.lanes % self.post_lanes:
            raise ValueError(f"post_lanes {self.post_lanes} do not divide {self.lanes} lanes")
        if self.max_shift > MAX_SHIFT:
            raise ValueError(f"max_shift {self.max_shift} is beyond the largest level")
        if self.banks > 2:
            raise ValueError(f"banks must be 1 or 2, not {self.banks}")
        if self.items not in ITEM_COUNTS:
            raise ValueError(f"items must be one of {ITEM_COUNTS}, not {self.items}")
        if self.weight_bits not in WEIGHT_BITS:
            known = ", ".join(str(list(widths)) for widths in WEIGHT_BITS)
            raise ValueError(f"weight_bits must be one of {known}, not {list(self.weight_bits)}")
        if self.multiplier not in MULTIPLIERS:
            known = ", ".join(MULTIPLIERS)
            raise ValueError(f"unknown multiplier '{self.multiplier}' (known: {known})")
        if self.post_multiplier not in POST_MULTIPLIERS:
            known = ", ".join(POST_MULTIPLIERS)
            raise ValueError(f"unknown post_multiplier '{self.post_multiplier}' (known: {known})")
        if self.program_bits not in PROGRAM_BITS:
            known = ", ".join(map(str, PROGRAM_BITS))
            raise ValueError(f"program_bits must be one of {known}, not {self.program_bits}")
        if self.features_together not in FEATURES_TOGETHER:
            raise ValueError(
                f"features_together must be one of {FEATURES_TOGETHER}, not "
                f"{self.features_together}"
            )
        for choice in RAM_CHOICES:
            if (style := getattr(self, choice)) not in RAM_STYLES:
                known = ", ".join(RAM_STYLES)
                raise ValueError(f"unknown {choice} '{style}' (known: {known})")
        if self.multiplier == "packed" and len(self.weight_bits) > 1:
            raise ValueError(
                f"packed products have weights of one width, not of {list(self.weight_bits)} bits"
            )
        if self.multiplier == "packed" and self.lanes % 2:
            raise ValueError(f"packed products need an even number of lanes, not {self.lanes}")

    def _require_families(self) -> None:
        """Check that the families are known, and can share an array."""
        for name in self.families:
            if name not in FAMILIES:
                known = ", ".join(FAMILIES)
                raise ValueError(f"unknown family '{name}' of processing elements (known: {known})")
        if self.shared_words and set(self.families) != {"running_sum"}:
            raise ValueError("shared_words are for running_sum elements alone")
        if not 0 < len(self.families) <= self.pes:
            raise ValueError(f"{len(self.families)} families for {self.pes} PEs")
        alone = [name for name in self.families if FAMILIES[name].lockstep]
        if alone and len(set(self.families)) > 1:
            raise ValueError(f"{alone[0]} elements share an array with no other family")

    def _require_indexed(self) -> None:
        """Check that `index_bits` mean something for these elements."""
        if not 2 <= self.index_bits < self.address_width:
            raise ValueError(
                f"index_bits must be 2..{self.address_width - 1} for addresses of "
                f"{self.address_width} bits, not {self.index_bits}"
            )
        for name in self.families:
            if FAMILIES[name].word.indices is None:
                raise ValueError(f"{name} elements have no index_bits, but whole addresses")

    def _require_memory(self) -> None:
        """Check that the streams of these elements can come from external memory."""
        if self.memory_bits not in MEMORY_BITS:
            known = ", ".join(map(str, MEMORY_BITS))
            raise ValueError(f"memory_bits must be one of {known}, not {self.memory_bits}")
        if self.pes % self.memory_ports:
            raise ValueError(f"{self.memory_ports} memory ports do not divide {self.pes} PEs")
        if not self.memory_bits and self.memory_ports > 1:
            raise ValueError(f"{self.memory_ports} memory ports of no bits")

    def _require_code(self) -> None:
        """Check that these elements can have coded streams."""
        if self.stream_code not in STREAM_CODES:
            known = ", ".join(STREAM_CODES)
            raise ValueError(f"unknown stream_code '{self.stream_code}' (known: {known})")
        if self.stream_code == "plain":
            return
        if not self.memory_bits:
            raise ValueError(f"{self.stream_code} streams come from memory, memory_bits > 0")
        if set(self.families) != {"ordered_sum"} or self.items < _CODED_ITEMS:
            raise ValueError(
                f"{self.stream_code} streams are those of ordered_sum elements with words of "
                f"{_CODED_ITEMS} items or more"
            )
        if self.max_shift or self.index_bits:
            raise ValueError(
                f"{self.stream_code} streams have steps of one level, max_shift = 0, and whole "
                "addresses, index_bits = 0"
            )

    def _require_queue(self) -> None:
        """Check that the system of this array can have a queue."""
        if not self.memory_bits or self.banks < 2:
            raise ValueError("a queue needs a port to external memory, memory_bits, and banks = 2")
        if self.lanes & (self.lanes - 1):
            raise ValueError(
                f"a queue needs rows of a power of two of bytes, not of {self.lanes} lanes"
            )

    def _require_exponents(self) -> None:
        """Check that the rows of this machine can share exponents."""
        if not self.gates:
            raise ValueError("row_exponents are those of gated results, of a row unit that gates")
        if self.row_exponents > MAX_REACH:
            raise ValueError(f"row_exponents must be 0..{MAX_REACH}, not {self.row_exponents}")

    def _require_together(self) -> None:
        """Check that a beat can bring several features to these elements."""
        what = f"beats of {self.features_together} features"
        if self.lanes > LANES_TOGETHER:
            raise ValueError(f"{what} are for {LANES_TOGETHER} lanes or fewer, not {self.lanes}")
        alone = set(self.families) - {"running_sum", "ordered_sum"}
        if alone:
            raise ValueError(
                f"{what} are for running_sum and ordered_sum elements, not {min(alone)}"
            )
        if self.queue or self.residual_depth or self.operand_depth:
            raise ValueError(f"{what} are for arrays without a queue, residuals and operands")
        for name in ("activation_depth", "result_depth"):
            if getattr(self, name) < 2 * self.features_together:
                raise ValueError(f"{what} need {name} = {2 * self.features_together} or more")

    def _require_top_k(self) -> None:
        """Check that this machine can find its largest results."""
        if not self.wide_results:
            raise ValueError("top_k is of wide results, which need wide_results = true")
        if self.top_k > MAX_TOP_K:
            raise ValueError(f"top_k must be 0..{MAX_TOP_K}, not {self.top_k}")
        rows = top_k_rows(self.top_k)
        if rows > self.result_depth:
            raise ValueError(
                f"top_k = {self.top_k} gives {rows} rows of results; there are {self.result_depth}"
            )

    def _require_operands(self) -> None:
        """Check that these elements can have operand memories."""
        if not self.softmax:
            raise ValueError("operand memories are for attention, which needs softmax")
        if self.result_depth < self.lanes:
            raise ValueError(
                f"operand memories need results for the {self.lanes} keys of a tile, not "
                f"{self.result_depth}"
            )
        if set(self.families) != {"running_sum"} or self.index_bits:
            raise ValueError(
                "operand memories are for running_sum elements with whole addresses, index_bits = 0"
            )
        if self.lanes != self.items or self.lanes % self.pes or self.lanes == 1:
            raise ValueError(
                "operand memories need as many lanes as items, and PEs that divide them, not "
                f"{self.lanes} lanes, {self.items} items and {self.pes} PEs"
            )

    @property
    def post_cycles(self) -> int:
        """Cycles in which the post unit takes an output."""
        return self.lanes // self.post_lanes

    @property
    def reads_together(self) -> int:
        """Reads of an element that share an activation memory."""
        return 1 if self.activation_memory == "distributed" else 2

    @property
    def parameter_stride(self) -> int:
        """Parameter rows from one slot to the next: P, up to a power of two."""
        return 1 << (self.pes - 1).bit_length()

    def slots(self, rows: int) -> int:
        """Slots that so many parameter rows take, one after another."""
        return -(-rows // self.parameter_stride)

    @property
    def address_width(self) -> int:
        """Bits of an activation address."""
        return self.activation_depth.bit_length() - 1

    @property
    def null_address(self) -> int:
        """The address of the row that always holds zeros: all ones."""
        return self.activation_depth - 1

    @property
    def most_features(self) -> int:
        """Features K of a kernel: those of all rows of the activation memories but the last one."""
        return self.activation_depth - self.features_together

    def tile_beats(self, rows: int) -> int:
        """Beats in which so many features of a tile come, or rows of its results leave."""
        return -(-rows // self.features_together)

    @property
    def shift_width(self) -> int:
        """Bits of a stream word's gap shift; 0 if every step is one level."""
        return self.max_shift.bit_length()

    @property
    def stream_limit(self) -> int:
        """The most words of a PE's streams in all kernels of a program."""
        return MEMORY_WORDS if self.memory_bits else self.stream_depth

    @property
    def lockstep(self) -> bool:
        """Whether all elements do the same step at the same time."""
        return FAMILIES[self.families[0]].lockstep

    def with_elements_of(self, other: "Machine") -> "Machine":
        """This machine with the kind of elements that another one has.

        Raises:
            ValueError: it cannot have them.
        """
        kind = {name: getattr(other, name) for name in ("families", "multiplier", "index_bits")}
        return replace(self, **kind)

    def family(self, pe: int) -> str:
        """The family of a PE."""
        return self.families[pe % len(self.families)]

    def members(self) -> dict[str, list[int]]:
        """The PEs of each family, in the order in which the families first appear."""
        found: dict[str, list[int]] = {}
        for pe in range(self.pes):
            found.setdefault(self.family(pe), []).append(pe)
        return found


def _require_count(name: str, value: int) -> None:
    """Check a number of a machine by itself."""
    if value < (0 if name in _MAY_BE_ZERO else 1):
        raise ValueError(f"{name} cannot be {value}")
    if value > _MOST.get(name, value):
        raise ValueError(f"{name} cannot be beyond {_MOST[name]}, as {value} is")
    if name in _OPTIONAL_DEPTHS and not value:
        return
    if name.endswith("_depth") and (value < 2 or value & (value - 1)):
        raise ValueError(f"{name} must be a power of two above 1, not {value}")
