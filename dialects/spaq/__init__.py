# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The `spaq` dialect: sparsity and quantisation as types, attributes and operations."""

from xdsl.ir import Dialect

from daqkf.dialects.spaq.analysis import AnalysisAttr
from daqkf.dialects.spaq.attention import AttendOp, AttentionOp, SequenceOperation
from daqkf.dialects.spaq.attributes import (
    EncodingAttr,
    FunctionAttr,
    LevelKind,
    LevelsAttr,
    LevelSet,
    SemiringAttr,
    Sparsity,
    SparsityAttr,
)
from daqkf.dialects.spaq.canonicalization import give_traits
from daqkf.dialects.spaq.exponents import RequantizeRowsOp, ScaleRowsOp
from daqkf.dialects.spaq.ops import (
    ActivationOp,
    AddOp,
    CalibratedOp,
    ConstantOp,
    DequantizeOp,
    MatmulOp,
    QuantizeOp,
    RequantizeOp,
)
from daqkf.dialects.spaq.rows import (
    ColumnsOp,
    ConcatOp,
    GateOp,
    GatherOp,
    LayerNormOp,
    NormalizeOp,
    NormOperation,
    ResidualOp,
    RmsNormOp,
)

give_traits()

SPAQ = Dialect(
    "spaq",
    [
        ActivationOp,
        AddOp,
        AttendOp,
        AttentionOp,
        CalibratedOp,
        ColumnsOp,
        ConcatOp,
        ConstantOp,
        DequantizeOp,
        GateOp,
        GatherOp,
        LayerNormOp,
        MatmulOp,
        NormalizeOp,
        QuantizeOp,
        RequantizeOp,
        RequantizeRowsOp,
        ResidualOp,
        RmsNormOp,
        ScaleRowsOp,
    ],
    [AnalysisAttr, EncodingAttr, FunctionAttr, LevelsAttr, SemiringAttr, SparsityAttr],
)

__all__ = [
    "SPAQ",
    "ActivationOp",
    "AddOp",
    "AnalysisAttr",
    "AttendOp",
    "AttentionOp",
    "CalibratedOp",
    "ColumnsOp",
    "ConcatOp",
    "ConstantOp",
    "DequantizeOp",
    "EncodingAttr",
    "FunctionAttr",
    "GateOp",
    "GatherOp",
    "LayerNormOp",
    "LevelKind",
    "LevelSet",
    "LevelsAttr",
    "MatmulOp",
    "NormOperation",
    "NormalizeOp",
    "QuantizeOp",
    "RequantizeOp",
    "RequantizeRowsOp",
    "ResidualOp",
    "RmsNormOp",
    "ScaleRowsOp",
    "SemiringAttr",
    "SequenceOperation",
    "Sparsity",
    "SparsityAttr",
]
