# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Passes that keep the level of the IR, like `spaq-*` and `dfke-*`, or cut kernels out of `nn`.

`PASSES` maps each pass's name to a factory that imports it only when it is asked for.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xdsl.passes import ModulePass


def _nn_raise() -> "type[ModulePass]":
    from daqkf.passes.nn_raise import NnRaisePass

    return NnRaisePass


def _nn_dequantize() -> "type[ModulePass]":
    from daqkf.passes.nn_dequantize import NnDequantizePass

    return NnDequantizePass


def _nn_fold() -> "type[ModulePass]":
    from daqkf.passes.nn_fold import NnFoldPass

    return NnFoldPass


def _nn_pre_norm() -> "type[ModulePass]":
    from daqkf.passes.nn_pre_norm import NnPreNormPass

    return NnPreNormPass


def _nn_scale() -> "type[ModulePass]":
    from daqkf.passes.nn_scale import NnScalePass

    return NnScalePass


def _nn_outline() -> "type[ModulePass]":
    from daqkf.passes.nn_outline import NnOutlinePass

    return NnOutlinePass


def _nn_merge() -> "type[ModulePass]":
    from daqkf.passes.nn_merge import NnMergePass

    return NnMergePass


def _nn_chain() -> "type[ModulePass]":
    from daqkf.passes.nn_chain import NnChainPass

    return NnChainPass


def _nn_attend() -> "type[ModulePass]":
    from daqkf.passes.nn_attend import NnAttendPass

    return NnAttendPass


def _nn_attention() -> "type[ModulePass]":
    from daqkf.passes.nn_attention import NnAttentionPass

    return NnAttentionPass


def _nn_gate() -> "type[ModulePass]":
    from daqkf.passes.nn_gate import NnGatePass

    return NnGatePass


def _nn_normalize() -> "type[ModulePass]":
    from daqkf.passes.nn_normalize import NnNormalizePass

    return NnNormalizePass


def _nn_product() -> "type[ModulePass]":
    from daqkf.passes.nn_product import NnProductPass

    return NnProductPass


def _spaq_analyze() -> "type[ModulePass]":
    from daqkf.passes.spaq_analyze import SpaqAnalyzePass

    return SpaqAnalyzePass


def _spaq_calibrate() -> "type[ModulePass]":
    from daqkf.passes.spaq_calibrate import SpaqCalibratePass

    return SpaqCalibratePass


def _spaq_prune() -> "type[ModulePass]":
    from daqkf.passes.spaq_prune import SpaqPrunePass

    return SpaqPrunePass


def _spaq_quantize() -> "type[ModulePass]":
    from daqkf.passes.spaq_quantize import SpaqQuantizePass

    return SpaqQuantizePass


def _dfke_dispatch() -> "type[ModulePass]":
    from daqkf.passes.dfke_dispatch import DfkeDispatchPass

    return DfkeDispatchPass


def _spaq_select_levels() -> "type[ModulePass]":
    from daqkf.passes.spaq_select_levels import SpaqSelectLevelsPass

    return SpaqSelectLevelsPass


def _dfke_fuse() -> "type[ModulePass]":
    from daqkf.passes.dfke_fuse import DfkeFusePass

    return DfkeFusePass


def _dfke_schedule() -> "type[ModulePass]":
    from daqkf.passes.dfke_schedule import DfkeSchedulePass

    return DfkeSchedulePass


def _dfke_specialize_bitwidth() -> "type[ModulePass]":
    from daqkf.passes.dfke_specialize_bitwidth import DfkeSpecializeBitwidthPass

    return DfkeSpecializeBitwidthPass


def _dfke_chain() -> "type[ModulePass]":
    from daqkf.passes.dfke_chain import DfkeChainPass

    return DfkeChainPass


def _rpea_validate() -> "type[ModulePass]":
    from daqkf.passes.rpea_validate import RpeaValidatePass

    return RpeaValidatePass


PASSES: "dict[str, Callable[[], type[ModulePass]]]" = {
    "nn-dequantize": _nn_dequantize,
    "nn-raise": _nn_raise,
    "nn-fold": _nn_fold,
    "nn-pre-norm": _nn_pre_norm,
    "nn-scale": _nn_scale,
    "nn-outline": _nn_outline,
    "nn-merge": _nn_merge,
    "nn-chain": _nn_chain,
    "nn-attend": _nn_attend,
    "nn-attention": _nn_attention,
    "nn-gate": _nn_gate,
    "nn-normalize": _nn_normalize,
    "nn-product": _nn_product,
    "spaq-prune": _spaq_prune,
    "spaq-calibrate": _spaq_calibrate,
    "spaq-analyze": _spaq_analyze,
    "spaq-select-levels": _spaq_select_levels,
    "spaq-quantize": _spaq_quantize,
    "dfke-dispatch": _dfke_dispatch,
    "dfke-fuse": _dfke_fuse,
    "dfke-specialize-bitwidth": _dfke_specialize_bitwidth,
    "dfke-schedule": _dfke_schedule,
    "dfke-chain": _dfke_chain,
    "rpea-validate": _rpea_validate,
}


def _canonicalize() -> "type[ModulePass]":
    from xdsl.transforms.canonicalize import CanonicalizePass

    return CanonicalizePass


def _cse() -> "type[ModulePass]":
    from xdsl.transforms.common_subexpression_elimination import CommonSubexpressionElimination

    return CommonSubexpressionElimination


GENERAL_PASSES: "dict[str, Callable[[], type[ModulePass]]]" = {
    "canonicalize": _canonicalize,
    "cse": _cse,
}
"""Passes of xDSL's own that make sense at every level."""
