# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""From the indices of a stream word to addresses, in a stage of its own.

`hw_targets/index_coding.py` says what they mean. The registers of this stage are the addresses, so
that neither the stream memory's nor the activation memory's side becomes longer.
"""

from collections.abc import Callable, Mapping

from daqkf.hw_targets.config import ArrayConfig
from daqkf.hw_targets.families import FAMILIES
from daqkf.hw_targets.index_coding import DELTA, INDEX, OFFSET, WINDOW, Deltas, IndexForm, Windows
from daqkf.lowering.hdl.circuit import Circuit, Signal, concat, mux, named

Word = Mapping[str, Signal]


def locate(
    c: Circuit,
    config: ArrayConfig,
    family: str,
    word: Word,
    valid: Signal,
    start: Signal,
    enable: Signal,
) -> tuple[dict[str, Signal], Signal]:
    """A word with addresses in place of what it has for them, one cycle later; and `valid`."""
    form = FAMILIES[family].word.indices
    assert form is not None
    located = FORMS[type(form)](c, config, word, valid, start, enable)
    coded = (WINDOW, OFFSET, DELTA)
    located |= {
        name: c.delay(signal, f"located_{name}", enable=enable)
        for name, signal in word.items()
        if name != "end" and not name.startswith(coded)
    }
    return located, c.delay(valid, "located_valid", enable=enable, reset=0)


def _windows(
    c: Circuit, config: ArrayConfig, word: Word, valid: Signal, start: Signal, enable: Signal
) -> dict[str, Signal]:
    """An offset's top bit chooses between a word's window and the next; the others follow it."""
    low, window = config.index_bits - 1, word[WINDOW]
    following = named(window + 1, "following_window")
    addresses: dict[str, Signal] = {}
    for item, offset in enumerate(_numbered(word, OFFSET)):
        address = c.register(
            f"{INDEX}{item}",
            config.address_width,
            reset=config.null_address,
            clear=enable & offset.all(),
        )
        address.drive(concat(mux(offset[low], following, window), offset[:low]), enable=enable)
        addresses[f"{INDEX}{item}"] = address
    return addresses


def _deltas(
    c: Circuit, config: ArrayConfig, word: Word, valid: Signal, start: Signal, enable: Signal
) -> dict[str, Signal]:
    """Where the last item was, or at an output's begin row 0, and the distances from there."""
    width, deltas = config.address_width, _numbered(word, DELTA)
    addresses = [c.register(f"{INDEX}{item}", width) for item in range(len(deltas))]
    step = enable & valid
    fresh = c.register("fresh", 1, reset=1)
    fresh.drive(start | word["last"], enable=start | step)
    base, distance = named(addresses[-1] & (~fresh).replicate(width), "base_address"), None
    for address, delta in zip(addresses, deltas, strict=True):
        distance = delta if distance is None else _sum(distance, delta)
        address.drive(base + distance.zext(width), enable=step)
    return {f"{INDEX}{item}": address for item, address in enumerate(addresses)}


def _sum(distance: Signal, delta: Signal) -> Signal:
    width = distance.width + 1
    return distance.zext(width) + delta.zext(width)


def _numbered(word: Word, name: str) -> list[Signal]:
    return [signal for field, signal in word.items() if field.startswith(name)]


FORMS: Mapping[type[IndexForm], Callable[..., dict[str, Signal]]] = {
    Windows: _windows,
    Deltas: _deltas,
}
