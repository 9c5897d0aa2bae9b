# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""linalg on tensors into `nn`, run against NumPy."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from linalg_text import dense, function, generic, resources
from scipy.special import erf
from xdsl.dialects.builtin import ModuleOp

from daqkf.compiler.design import run_passes
from daqkf.compiler.formats import load_network
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn import ElementwiseOp

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(9)


def real(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


X, Y = real(3, 4), real(3, 4)


def load(folder: Path, text: str) -> ModuleOp:
    path = folder / "network.mlir"
    path.write_text(text)
    return load_network(path)


def outcome(module: ModuleOp, *inputs: Array) -> Array:
    (result,) = call(module, entry(module), inputs)
    return result


def check(folder: Path, text: str, inputs: Sequence[Array], expected: Array) -> ModuleOp:
    """The imported network computes this, before its functions are raised and after it."""
    module = load(folder, text)
    for passes in ([], ["nn-raise"]):
        run_passes(module, passes)
        result = outcome(module, *inputs)
        assert result.dtype == expected.dtype
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, rtol=2e-5, atol=2e-6)
    return module


def kinds(module: ModuleOp) -> list[str]:
    """The operations of `nn`, functions by their names, constants and returns left out."""
    found = [
        op.kind.data if isinstance(op, ElementwiseOp) else op.name.removeprefix("nn.")
        for op in entry(module).body.block.ops
    ]
    return [name for name in found if name not in ("constant", "func.return")]


def pointwise(body: str, kind: str = "f32", rank: int = 2) -> str:
    """A function of one or two tensors, whose results are in the tensor `%e`."""
    ID = "affine_map<(d0, d1) -> (d0, d1)>"
    two = "%b" in body
    operands = "%x, %y" if two else "%x"
    types = ", ".join([f"tensor<?x4x{kind}>"] * (2 if two else 1))
    args = ", ".join(f"%{name}: {kind}" for name in ("ab" if two else "a"))
    loops = generic(
        ", ".join([ID] * (3 if two else 2)),
        "pp",
        f"ins({operands} : {types}) outs(%e : tensor<?x4x{kind}>)",
        f"^bb0({args}, %out: {kind}):\n{body}\nlinalg.yield %r : {kind}",
    )
    lines = f"""
      %zero = arith.constant 0.0 : f32
      %two = arith.constant 2.0 : f32
      %i3 = arith.constant 3 : i32
      %c0 = arith.constant 0 : index
      %n = tensor.dim %x, %c0 : tensor<?x4x{kind}>
      %e = tensor.empty(%n) : tensor<?x4x{kind}>
      %y2 = {loops} -> tensor<?x4x{kind}>
      return %y2 : tensor<?x4x{kind}>"""
    more = f", %y: tensor<?x4x{kind}>" if two else ""
    return function(f"%x: tensor<?x4x{kind}>{more}", f"tensor<?x4x{kind}>", lines)


FUNCTIONS: dict[str, tuple[str, Callable[..., Array]]] = {
    "addf": ("%r = arith.addf %a, %b : f32", np.add),
    "subf": ("%r = arith.subf %a, %b : f32", np.subtract),
    "mulf": ("%r = arith.mulf %a, %b : f32", np.multiply),
    "divf": ("%r = arith.divf %a, %b : f32", np.divide),
    "maximumf": ("%r = arith.maximumf %a, %b : f32", np.maximum),
    "minimumf": ("%r = arith.minimumf %a, %b : f32", np.minimum),
    "negf": ("%r = arith.negf %a : f32", np.negative),
    "absf": ("%r = math.absf %a : f32", np.abs),
    "exp": ("%r = math.exp %a : f32", np.exp),
    "tanh": ("%r = math.tanh %a : f32", np.tanh),
    "erf": ("%r = math.erf %a : f32", erf),
    "sqrt": ("%s = math.absf %a : f32\n%r = math.sqrt %s : f32", lambda a: np.sqrt(np.abs(a))),
    "log": ("%s = math.absf %a : f32\n%r = math.log %s : f32", lambda a: np.log(np.abs(a))),
    "rsqrt": ("%s = math.absf %a : f32\n%r = math.rsqrt %s : f32", lambda a: np.abs(a) ** -0.5),
    "powf": ("%s = math.absf %a : f32\n%r = math.powf %s, %b : f32", lambda a, b: np.abs(a) ** b),
    "square": ("%r = math.powf %a, %two : f32", np.square),
    "fpowi": ("%r = math.fpowi %a, %i3 : f32, i32", lambda a: a**3),
    "select": (
        "%c = arith.cmpf olt, %a, %b : f32\n%r = arith.select %c, %a, %two : f32",
        lambda a, b: np.where(a < b, a, np.float32(2)),
    ),
    "and": (
        "%c = arith.cmpf oge, %a, %zero : f32\n%d = arith.cmpf ule, %a, %two : f32\n"
        "%f = arith.andi %c, %d : i1\n%r = arith.select %f, %a, %zero : f32",
        lambda a: np.where((a >= 0) & (a <= 2), a, np.float32(0)),
    ),
    "casts": (
        "%s = arith.mulf %a, %two : f32\n%i = arith.fptosi %s : f32 to i32\n"
        "%r = arith.sitofp %i : i32 to f32",
        lambda a: np.trunc(2 * a),
    ),
    "copy": ("%r = arith.mulf %a, %a : f32", np.square),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bodies(tmp_path: Path, name: str):
    body, reference = FUNCTIONS[name]
    inputs = [X, Y][: 1 + ("%b" in body)]
    check(tmp_path, pointwise(body), inputs, reference(*inputs).astype(np.float32))


COMPARISONS = {"eq": np.equal, "gt": np.greater, "ge": np.greater_equal}
COMPARISONS |= {"lt": np.less, "le": np.less_equal}


@pytest.mark.parametrize("name", [*(f"{p}{c}" for p in "ou" for c in COMPARISONS if c != "eq")])
def test_comparisons_know_nan(tmp_path: Path, name: str):
    a = np.array([[1, 2, np.nan, 3]], np.float32)
    b = np.array([[2, 2, 2, np.nan]], np.float32)
    holds = COMPARISONS[name[1:]](a, b) | ((name[0] == "u") & (np.isnan(a) | np.isnan(b)))
    body = f"%c = arith.cmpf {name}, %a, %b : f32\n%r = arith.select %c, %two, %zero : f32"
    check(tmp_path, pointwise(body), [a, b], np.where(holds, 2, 0).astype(np.float32))


def test_integers(tmp_path: Path):
    body = (
        "%c = arith.cmpi sgt, %a, %b : i64\n%d = arith.cmpi ne, %a, %b : i64\n"
        "%f = arith.andi %c, %d : i1\n%m = arith.muli %a, %b : i64\n%s = arith.subi %m, %a : i64\n"
        "%r = arith.select %f, %s, %b : i64"
    )
    a, b = RNG.integers(-5, 5, (2, 3, 4))
    check(tmp_path, pointwise(body, "i64"), [a, b], np.where(a > b, a * b - a, b))


MAPS = [
    ("(d0, d1) -> (d1)", (4,), lambda b: b),
    ("(d0, d1) -> (d0)", (3,), lambda b: b[:, None]),
    ("(d0, d1) -> (d0, 0)", (3, 1), lambda b: b),
    ("(d0, d1) -> (0, d1)", (1, 4), lambda b: b),
    ("(d0, d1) -> (d1, d0)", (4, 3), lambda b: b.T),
    ("(d0, d1) -> (0, d0)", (1, 3), lambda b: b.T),
    ("(d0, d1) -> ()", (), lambda b: b),
]


@pytest.mark.parametrize(("text", "shape", "spread"), MAPS, ids=[text for text, *_ in MAPS])
@pytest.mark.parametrize("rows", ["3", "?"])
def test_maps(tmp_path: Path, text: str, shape: tuple[int, ...], spread: Any, rows: str):
    b = np.asarray(real(*shape))
    kind = f"tensor<{rows}x4xf32>"
    extents = ["?" if n == 3 and rows == "?" else str(n) for n in shape]
    other = f"tensor<{'x'.join([*extents, 'f32'])}>"
    ID = "affine_map<(d0, d1) -> (d0, d1)>"
    loops = generic(
        f"{ID}, affine_map<{text}>, {ID}",
        "pp",
        f"ins(%x, %b : {kind}, {other}) outs(%x : {kind})",
        "^bb0(%p: f32, %q: f32, %o: f32):\n%s = arith.subf %p, %q : f32\nlinalg.yield %s : f32",
    )
    body = f"%y = {loops} -> {kind}\nreturn %y : {kind}"
    check(tmp_path, function(f"%x: {kind}, %b: {other}", kind, body), [X, b], X - spread(b))


@pytest.mark.parametrize("rows", ["3", "?"])
def test_a_broadcast_alone_is_made_where_it_must_be(tmp_path: Path, rows: str):
    """As a result, which no function widens."""
    kind = f"tensor<{rows}x4xf32>"
    size = "%n" if rows == "?" else ""
    maps = "affine_map<(d0, d1) -> (d1)>, affine_map<(d0, d1) -> (d0, d1)>"
    operands = f"ins(%b : tensor<4xf32>) outs(%e : {kind})"
    loops = generic(maps, "pp", operands, "^bb0(%p: f32, %o: f32):\nlinalg.yield %p : f32")
    body = f"""
      %c0 = arith.constant 0 : index
      %n = tensor.dim %x, %c0 : {kind}
      %e = tensor.empty({size}) : {kind}
      %y = {loops} -> {kind}
      return %y : {kind}"""
    b = real(4)
    text = function(f"%x: {kind}, %b: tensor<4xf32>", kind, body)
    check(tmp_path, text, [X, b], np.broadcast_to(b, (3, 4)))


REDUCTIONS = {
    "sum": ("arith.addf", "0.0", np.sum),
    "sum from 2": ("arith.addf", "2.0", lambda x, **o: np.sum(x, **o) + np.float32(2)),
    "max": ("arith.maximumf", "0xFF800000", np.max),
    "max from the least": ("arith.maximumf", "-3.40282347E+38", np.max),
    "min": ("arith.minimumf", "0x7F800000", np.min),
    "prod": ("arith.mulf", "1.0", np.prod),
}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize(
    ("iterators", "place", "axis", "keep", "kind"),
    [
        ("pr", "(d0, d1) -> (d0)", 1, False, "tensor<3xf32>"),
        ("pr", "(d0, d1) -> (d0, 0)", 1, True, "tensor<3x1xf32>"),
        ("rp", "(d0, d1) -> (d1)", 0, False, "tensor<4xf32>"),
        ("rr", "(d0, d1) -> ()", (0, 1), False, "tensor<f32>"),
    ],
)
def test_reductions(
    tmp_path: Path, name: str, iterators: str, place: str, axis: Any, keep: bool, kind: str
):
    op, start, reference = REDUCTIONS[name]
    loops = generic(
        f"affine_map<(d0, d1) -> (d0, d1)>, affine_map<{place}>",
        iterators,
        f"ins(%x : tensor<3x4xf32>) outs(%f : {kind})",
        f"^bb0(%p: f32, %o: f32):\n%q = arith.mulf %p, %p : f32\n"
        f"%s = {op} %q, %o : f32\nlinalg.yield %s : f32",
    )
    body = f"""
      %start = arith.constant {start} : f32
      %e = tensor.empty() : {kind}
      %f = linalg.fill ins(%start : f32) outs(%e : {kind}) -> {kind}
      %y = {loops} -> {kind}
      return %y : {kind}"""
    expected = np.asarray(reference(X * X, axis=axis, keepdims=keep))
    check(tmp_path, function("%x: tensor<3x4xf32>", kind, body), [X], expected)


def test_reduce_and_broadcast(tmp_path: Path):
    body = """
      %zero = arith.constant 0.0 : f32
      %e = tensor.empty() : tensor<3xf32>
      %f = linalg.fill ins(%zero : f32) outs(%e : tensor<3xf32>) -> tensor<3xf32>
      %s = linalg.reduce ins(%x : tensor<3x4xf32>) outs(%f : tensor<3xf32>) dimensions = [1]
        (%a: f32, %b: f32) {
          %c = arith.addf %a, %b : f32
          linalg.yield %c : f32
        }
      %w = tensor.empty() : tensor<3x4xf32>
      %b = linalg.broadcast ins(%s : tensor<3xf32>) outs(%w : tensor<3x4xf32>) dimensions = [1]
      %y = linalg.sub ins(%x, %b : tensor<3x4xf32>, tensor<3x4xf32>)
        outs(%w : tensor<3x4xf32>) -> tensor<3x4xf32>
      return %y : tensor<3x4xf32>"""
    text = function("%x: tensor<3x4xf32>", "tensor<3x4xf32>", body)
    check(tmp_path, text, [X], X - X.sum(axis=1, keepdims=True))


PRODUCTS = {
    "rows": (
        "(m, n, k) -> (m, k)",
        "(m, n, k) -> (k, n)",
        "(m, n, k) -> (m, n)",
        "ppr",
        "mk,kn->mn",
    ),
    "transposed": (
        *("(m, n, k) -> (m, k)", "(m, n, k) -> (n, k)", "(m, n, k) -> (m, n)"),
        *("ppr", "mk,nk->mn"),
    ),
    "stored across": (
        *("(m, n, k) -> (k, m)", "(m, n, k) -> (n, k)", "(m, n, k) -> (n, m)"),
        *("ppr", "km,nk->nm"),
    ),
    "tokens": (
        *("(b, m, n, k) -> (b, m, k)", "(b, m, n, k) -> (n, k)", "(b, m, n, k) -> (b, m, n)"),
        *("pppr", "bmk,nk->bmn"),
    ),
    "heads": (
        *("(b, h, m, n, k) -> (b, m, h, k)", "(b, h, m, n, k) -> (b, n, h, k)"),
        *("(b, h, m, n, k) -> (b, h, m, n)", "ppppr", "bmhk,bnhk->bhmn"),
    ),
    "vector": ("(m, k) -> (m, k)", "(m, k) -> (k)", "(m, k) -> (m)", "pr", "mk,k->m"),
    "reduced first": (
        *("(k, m, n) -> (m, k)", "(k, m, n) -> (k, n)", "(k, m, n) -> (m, n)"),
        *("rpp", "mk,kn->mn"),
    ),
}
EXTENTS = {"b": 2, "h": 3, "m": 4, "n": 5, "k": 6}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(tmp_path: Path, name: str):
    *maps, iterators, einsum = PRODUCTS[name]
    left, right, out = einsum.replace("->", ",").split(",")
    types = [
        f"tensor<{''.join(f'{EXTENTS[letter]}x' for letter in letters)}f32>"
        for letters in (left, right, out)
    ]
    loops = generic(
        ", ".join(f"affine_map<{text}>" for text in maps),
        iterators,
        f"ins(%x, %w : {types[0]}, {types[1]}) outs(%i : {types[2]})",
        "^bb0(%a: f32, %b: f32, %c: f32):\n%p = arith.mulf %a, %b : f32\n"
        "%s = arith.addf %c, %p : f32\nlinalg.yield %s : f32",
    )
    arguments = f"%x: {types[0]}, %w: {types[1]}, %i: {types[2]}"
    inputs = [real(*(EXTENTS[letter] for letter in letters)) for letters in (left, right, out)]
    expected = np.einsum(einsum, inputs[0], inputs[1]) + inputs[2]
    text = function(arguments, types[2], f"%y = {loops} -> {types[2]}\nreturn %y : {types[2]}")
    module = check(tmp_path, text, inputs, expected)
    assert kinds(module).count("matmul") == 1


def test_named_products_of_integers_and_batches(tmp_path: Path):
    body = """
      %0 = linalg.matmul ins(%a, %b : tensor<2x3xi8>, tensor<3x4xi8>)
        outs(%c : tensor<2x4xi32>) -> tensor<2x4xi32>
      return %0 : tensor<2x4xi32>"""
    arguments = "%a: tensor<2x3xi8>, %b: tensor<3x4xi8>, %c: tensor<2x4xi32>"
    a, b = (RNG.integers(-128, 128, shape).astype(np.int8) for shape in ((2, 3), (3, 4)))
    c = np.ones((2, 4), np.int32)
    text = function(arguments, "tensor<2x4xi32>", body)
    check(tmp_path, text, [a, b, c], a.astype(np.int32) @ b.astype(np.int32) + 1)
    kind = ["tensor<?x2x3xf32>", "tensor<?x3x4xf32>", "tensor<?x2x4xf32>"]
    body = f"""
      %0 = linalg.batch_matmul ins(%a, %b : {kind[0]}, {kind[1]}) outs(%c : {kind[2]}) -> {kind[2]}
      return %0 : {kind[2]}"""
    inputs = [real(5, 2, 3), real(5, 3, 4), real(5, 2, 4)]
    text = function(f"%a: {kind[0]}, %b: {kind[1]}, %c: {kind[2]}", kind[2], body)
    check(tmp_path, text, inputs, inputs[0] @ inputs[1] + inputs[2])


def test_named_products_of_operands_stored_across(tmp_path: Path):
    """With maps, as MLIR prints a matrix that is transposed into its product; and vectors."""
    body = """
      %0 = linalg.matmul indexing_maps = [
          affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>,
          affine_map<(m, n, k) -> (m, n)>
        ] ins(%a, %b : tensor<2x3xf32>, tensor<4x3xf32>)
        outs(%c : tensor<2x4xf32>) -> tensor<2x4xf32>
      %z = arith.constant dense<0.0> : tensor<4xf32>
      %1 = linalg.vecmat ins(%v, %0 : tensor<2xf32>, tensor<2x4xf32>)
        outs(%z : tensor<4xf32>) -> tensor<4xf32>
      %2 = linalg.matvec ins(%0, %1 : tensor<2x4xf32>, tensor<4xf32>)
        outs(%v : tensor<2xf32>) -> tensor<2xf32>
      return %2 : tensor<2xf32>"""
    a, b, c, v = inputs = [real(2, 3), real(4, 3), real(2, 4), real(2)]
    arguments = "%a: tensor<2x3xf32>, %b: tensor<4x3xf32>, %c: tensor<2x4xf32>, %v: tensor<2xf32>"
    product = a @ b.T + c
    text = function(arguments, "tensor<2xf32>", body)
    check(tmp_path, text, inputs, product @ (v @ product) + v)


PARALLEL = ", ".join(['"parallel"'] * 3)
BLOCK = Path(__file__).parents[1] / "lowering" / "import_linalg.mlir"


def test_a_block_as_torch_mlir_prints_it(tmp_path: Path):
    text = BLOCK.read_text()
    w, gamma, beta = (
        np.frombuffer(bytes.fromhex(data), "<f4")
        for data in re.findall(r"dense<\"0x(\w+)\">", text)
    )
    w = w.reshape(8, 8)
    x = real(2, 3, 8)
    centred = x - x.mean(-1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * gamma + beta
    heads = (normed @ w.T + beta).reshape(2, 3, 2, 4).transpose(0, 2, 1, 3)
    scores = heads @ heads.transpose(0, 1, 3, 2)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = (shares / shares.sum(-1, keepdims=True)) @ heads
    mixed = mixed.transpose(0, 2, 1, 3).reshape(2, 3, 8)
    expected = mixed / (1 + np.exp(-mixed)) + np.maximum(x, 0)
    module = check(tmp_path, text, [x], expected.astype(np.float32))
    assert kinds(module) == [
        *("layer_norm", "matmul", "add", "reshape", "transpose", "transpose", "matmul"),
        *("softmax", "matmul", "transpose", "reshape", "silu", "relu", "add"),
    ]
    run_passes(module, ["nn-outline"])
    assert kinds(module)[1] == "linear"
    np.testing.assert_allclose(outcome(module, x), expected, rtol=1e-4, atol=1e-5)


def test_rows_of_a_table(tmp_path: Path):
    """An embedding, as torch-mlir spells it; the loop along the row is an index of its own."""
    body = f"""
      %c0 = arith.constant 0 : index
      %w = {dense(table := real(5, 3))}
      %n = tensor.dim %ids, %c0 : tensor<?x2xi64>
      %e = tensor.empty(%n) : tensor<?x2x3xf32>
      %y = linalg.generic {{
        indexing_maps = [
          affine_map<(d0, d1, d2) -> (d0, d1)>, affine_map<(d0, d1, d2) -> (d0, d1, d2)>
        ],
        iterator_types = [{PARALLEL}]
      }} ins(%ids : tensor<?x2xi64>) outs(%e : tensor<?x2x3xf32>) {{
      ^bb0(%in: i64, %out: f32):
        %i = arith.index_cast %in : i64 to index
        %j = linalg.index 2 : index
        %v = tensor.extract %w[%i, %j] : tensor<5x3xf32>
        linalg.yield %v : f32
      }} -> tensor<?x2x3xf32>
      return %y : tensor<?x2x3xf32>"""
    ids = np.array([[0, 4], [1, 1], [3, 2]])
    check(tmp_path, function("%ids: tensor<?x2xi64>", "tensor<?x2x3xf32>", body), [ids], table[ids])


def test_resources(tmp_path: Path):
    """Constants behind the function, as torch-mlir prints those of files; each text has its own."""
    body = """
      %w = arith.constant dense_resource<torch_tensor_3_4_torch.float32> : tensor<3x4xf32>
      %y = linalg.mul ins(%x, %w : tensor<3x4xf32>, tensor<3x4xf32>)
        outs(%w : tensor<3x4xf32>) -> tensor<3x4xf32>
      return %y : tensor<3x4xf32>"""
    text = function("%x: tensor<3x4xf32>", "tensor<3x4xf32>", body)
    for w in (Y, real(3, 4)):
        tail = resources("torch_tensor_3_4_torch.float32", w)
        check(tmp_path, text + tail, [X], X * w)


def test_shapes(tmp_path: Path):
    """Slices, concatenation, and extents that come and go."""
    body = """
      %c0 = arith.constant 0 : index
      %n = tensor.dim %x, %c0 : tensor<?x6xf32>
      %a = tensor.extract_slice %x[0, 1] [2, 3] [1, 2] : tensor<?x6xf32> to tensor<2x3xf32>
      %b = tensor.concat dim(1) %a, %a : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x6xf32>
      %c = tensor.collapse_shape %b [[0, 1]] : tensor<2x6xf32> into tensor<12xf32>
      %d = tensor.expand_shape %c [[0, 1, 2]] output_shape [3, 1, 4]
        : tensor<12xf32> into tensor<3x1x4xf32>
      %e = tensor.collapse_shape %d [[0], [1, 2]] : tensor<3x1x4xf32> into tensor<3x4xf32>
      %f = tensor.cast %e : tensor<3x4xf32> to tensor<?x4xf32>
      return %f : tensor<?x4xf32>"""
    x = real(4, 6)
    part = x[:2, 1::2]
    expected = np.concatenate([part, part], axis=1).reshape(3, 4)
    check(tmp_path, function("%x: tensor<?x6xf32>", "tensor<?x4xf32>", body), [x], expected)


def test_a_module_of_nn_stays_as_it_is(tmp_path: Path):
    text = """
    func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
      %y = nn.elementwise relu %x : (tensor<2xf32>) -> tensor<2xf32>
      func.return %y : tensor<2xf32>
    }"""
    assert kinds(load(tmp_path, text)) == ["relu"]
