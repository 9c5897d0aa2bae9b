# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""IR vocabulary: the dialects, their types, attributes and operations.

`DIALECTS` maps each dialect's name to a factory that imports it only when it is needed.
`hw`, `seq` and `linalg` have additions and stand in for xDSL's own.
"""

from collections.abc import Callable

from xdsl.ir import Dialect


def _nn() -> Dialect:
    from daqkf.dialects.nn import NN

    return NN


def _linalg() -> Dialect:
    from daqkf.dialects.linalg_ext import LINALG

    return LINALG


def _spaq() -> Dialect:
    from daqkf.dialects.spaq import SPAQ

    return SPAQ


def _dfke() -> Dialect:
    from daqkf.dialects.dfke import DFKE

    return DFKE


def _rpea() -> Dialect:
    from daqkf.dialects.rpea import RPEA

    return RPEA


def _hw() -> Dialect:
    from daqkf.dialects.circt_ext import HW

    return HW


def _seq() -> Dialect:
    from daqkf.dialects.circt_ext import SEQ

    return SEQ


def _sv() -> Dialect:
    from daqkf.dialects.circt_ext import SV

    return SV


DIALECTS: dict[str, Callable[[], Dialect]] = {
    "nn": _nn,
    "spaq": _spaq,
    "dfke": _dfke,
    "rpea": _rpea,
    "hw": _hw,
    "seq": _seq,
    "sv": _sv,
    "linalg": _linalg,
}
