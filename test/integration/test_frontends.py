# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Matrices, safetensors and their descriptions into `nn`; and `daqkf-translate --from`."""

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy import sparse
from scipy.io import mmwrite
from xdsl.dialects.builtin import ModuleOp

import daqkf
from daqkf.cli.translate import main as translate
from daqkf.compiler.design import run_passes
from daqkf.compiler.formats import FORMATS, SUFFIXES, load_network
from daqkf.dialects.interpreting import call, entry
from daqkf.dialects.nn import ConstantOp
from daqkf.hw_targets.functions import apply_function
from daqkf.support.errors import DaqkfError

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(17)


def real(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


W, B = real(6, 4), real(4)
X = real(3, 6)
SPARSE = sparse.random(6, 4, 0.4, rng=RNG)


def outcome(module: ModuleOp, x: Array) -> Array:
    (result,) = call(module, entry(module), [x])
    return result


def compare(path: Path, expected: Array) -> None:
    """The network of a file gives this of X, and so does it with its layers cut out."""
    module = load_network(path)
    for passes in ([], ["nn-outline"]):
        run_passes(module, passes)
        np.testing.assert_allclose(outcome(module, X), expected, rtol=1e-5, atol=1e-6)


def refusal(path: Path) -> str:
    """The message that a file is refused with: one line that begins with its name."""
    with pytest.raises(DaqkfError) as caught:
        load_network(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


SQUARE = sparse.random(6, 6, 0.4, rng=RNG)
MATRICES: dict[str, tuple[Any, dict[str, str]]] = {
    "sparse": (SPARSE, {}),
    "dense": (W, {}),
    "integers": (np.rint(3 * W).astype(int), {}),
    "pattern": (SPARSE != 0, {"field": "pattern"}),
    "nothing": (sparse.coo_matrix((6, 4)), {}),
    **{
        f"{name}, {layout}": (
            matrix if layout == "sparse" else matrix.toarray(),
            {"symmetry": name},
        )
        for layout in ("sparse", "dense")
        for name, matrix in (
            ("symmetric", SQUARE + SQUARE.T),
            ("skew-symmetric", SQUARE - SQUARE.T),
            ("general", SQUARE),
        )
    },
}


@pytest.mark.parametrize("name", MATRICES)
def test_matrix_market(tmp_path: Path, name: str):
    matrix, options = MATRICES[name]
    mmwrite(tmp_path / "w.mtx", matrix, comment="of 100 %", **options)
    dense = matrix.toarray() if sparse.issparse(matrix) else matrix
    compare(tmp_path / "w.mtx", X @ dense.astype(np.float32))


BAD_MARKETS = {
    "real general\n2 2 1\n1 3 1.0": "an index outside the matrix",
    "real general\n2 2 1\n0 1 1.0": "an index outside the matrix",
    "real general\n2 2 2\n1 1 1.0": "1 entries, not as many as the header says",
    "real general\n2 2 1\n1 1 1.0E-": "could not convert string '1.0E-' to float64",
    "real general\n2 2 1\n1 1 1.0 2.0": "4 numbers in a line, not 3",
    "complex general\n2 2 1\n1 1 1.0 2.0": "complex numbers",
    "real general\n2 2 1\n1.7 1 1.0": "1.7 is no index",
    "real general\n2 2 1\n1e0 1 nan x": "could not convert string 'x' to float64",
    "real symmetric\n4 7 1\n1 1 1.0": "a symmetric matrix of 4 × 7",
    "real symmetric\n2 2 2\n1 2 1.5\n2 1 1.5": "an entry above the diagonal of a symmetric",
    "real skew-symmetric\n2 2 1\n1 1 1.5": "an entry on the diagonal of a skew-symmetric",
    "real hermitian\n2 2 1\n1 1 1.5": "a hermitian matrix of real numbers",
    "integer general\n2 2 1\n1 1 1.5": "1.5 in a matrix of integers",
    "pattern general\n2 2 1\n1 1 1.5": "3 numbers in a line, not 2",
    "pattern skew-symmetric\n2 2 1\n2 1": "a skew-symmetric pattern",
    "real general\n2 2 999999999999\n1 1 1.0": "999999999999 entries takes 21.8 TiB of memory",
}


@pytest.mark.parametrize("text", BAD_MARKETS)
def test_bad_matrix_market_is_named(tmp_path: Path, text: str):
    (tmp_path / "w.mtx").write_text(f"%%MatrixMarket matrix coordinate {text}\n")
    found = refusal(tmp_path / "w.mtx")
    assert found.startswith(f"not readable as Matrix Market ({BAD_MARKETS[text]}")


LARGE = 16384, 32768
HEADER = "%%MatrixMarket matrix coordinate real general\n16384 32768"


def peak() -> int:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@pytest.mark.parametrize("entries", [0, 1, 300])
def test_a_large_matrix_of_few_entries_stays_sparse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: int
):
    monkeypatch.setenv("DAQKF_MEMORY", "256M")
    before, rng = peak(), np.random.default_rng(entries)
    rows, columns = (rng.integers(0, extent, entries) for extent in LARGE)
    values = rng.standard_normal(entries)
    lines = [
        f"{r + 1} {c + 1} {v!r}" for r, c, v in zip(rows, columns, values.tolist(), strict=True)
    ]
    (tmp_path / "w.mtx").write_text("\n".join([f"{HEADER} {entries}", *lines, ""]))
    network = daqkf.compile(tmp_path / "w.mtx", calibration=rng.standard_normal((64, LARGE[0])))
    x = rng.standard_normal((4, LARGE[0])).astype(np.float32)
    (y,) = network.run({"x": x}).values()
    matrix = sparse.coo_array((values, (rows, columns)), LARGE).tocsr()
    expected = x @ matrix
    assert y.shape == expected.shape
    without = np.diff(matrix.tocsc().indptr) == 0
    assert not y[:, without].any()
    assert np.square(y - expected).sum() <= 1e-3 * np.square(expected).sum()
    # Dense, the matrix alone would take 2 GiB.
    assert peak() - before < 300


def test_entries_of_a_sparse_file_add_up_and_zeros_among_them_do_not_count(tmp_path: Path):
    matrix = sparse.coo_array(([1.0, 2.0, 0.0, 4.0], ([7, 7, 8, 9], [5, 5, 6, 30000])), LARGE)
    sparse.save_npz(tmp_path / "w.npz", matrix)
    module = load_network(tmp_path / "w.npz")
    shapes = [op.array().shape for op in module.walk() if isinstance(op, ConstantOp)]
    assert (2, 3) in shapes  # two rows, two columns, and one for all the empty ones
    x = real(2, LARGE[0])
    np.testing.assert_allclose(outcome(module, x), x @ matrix.tocsr(), rtol=1e-6)


def test_a_sparse_matrix_of_which_too_much_is_left_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DAQKF_MEMORY", "4G")
    before = peak()
    sparse.save_npz(tmp_path / "w.npz", sparse.eye_array(16384, 40000))
    assert refusal(tmp_path / "w.npz").startswith(
        "compiling a dense matrix of 16384 × 16385, which is what is left of 16384 × 40000 without "
        "empty rows and columns, takes 16.0 GiB of memory, of which 4.0 GiB may be used"
    )
    sparse.save_npz(tmp_path / "w.npz", sparse.eye_array(16384))
    assert refusal(tmp_path / "w.npz").startswith("compiling a dense matrix of 16384 × 16384 takes")
    # A layer for one program is not cut, and is refused for that before it is dense.
    with pytest.raises(DaqkfError, match=r"^16384 features; the target holds at most 4095"):
        daqkf.compile(sparse.eye_array(16384))
    assert peak() - before < 100


def test_a_matrix_market_file_that_ends_anywhere_is_refused(tmp_path: Path):
    path = tmp_path / "w.mtx"
    mmwrite(path, SPARSE)
    data = path.read_bytes()
    entries = len(data.splitlines()[-1])
    for length in range(len(data) - entries):
        path.write_bytes(data[:length])
        assert refusal(path).startswith("not readable as Matrix Market (")


def test_arrays(tmp_path: Path):
    np.save(tmp_path / "w.npy", W.astype(np.float64))
    compare(tmp_path / "w.npy", X @ W)
    np.savez(tmp_path / "w.npz", weights=W)
    compare(tmp_path / "w.npz", X @ W)
    np.savez_compressed(tmp_path / "all.npz", weights=W, bias=B, activation="gelu")
    compare(tmp_path / "all.npz", apply_function("gelu", X @ W + B).astype(np.float32))
    sparse.save_npz(tmp_path / "s.npz", SPARSE.tocsr())
    compare(tmp_path / "s.npz", X @ SPARSE.toarray().astype(np.float32))


BAD_MATRICES: dict[str, tuple[Any, str]] = {
    "nan.npy": (np.array([[1, 2], [3, np.nan]]), "weights[1, 1] is nan; all must be finite"),
    "huge.npy": (np.array([[1e39]]), "weights[0, 0] is inf; all must be finite in float32"),
    "rank.npy": (np.zeros((2, 3, 4)), "weights must have the shape [K, N], not [2, 3, 4]"),
    "scalar.npy": (np.array(3.0), "weights must have the shape [K, N], not []"),
    "empty.npy": (np.zeros((0, 4)), "weights must not be empty"),
    "complex.npy": (np.zeros((2, 2), complex), "weights must be real numbers, not complex128"),
    "text.npy": (np.array([["a"]]), "weights must be real numbers, not <U1"),
    "none.npz": ({"w": W}, "has no array 'weights'"),
    "more.npz": ({"weights": W, "samples": X}, "unknown array 'samples'"),
    "bias.npz": ({"weights": W, "bias": X[0]}, "bias has 6 entries for 4 output channels"),
    "matrix.npz": ({"weights": W, "bias": W}, "bias must have the shape [N], not [6, 4]"),
    "act.npz": ({"weights": W, "activation": "step"}, "unknown activation 'step' (known: relu"),
    "nan.npz": ({"weights": W, "bias": B * np.nan}, "bias[0] is nan; all must be finite"),
}


@pytest.mark.parametrize("name", BAD_MATRICES)
def test_bad_matrices_are_named(tmp_path: Path, name: str):
    data, message = BAD_MATRICES[name]
    path = tmp_path / name
    if isinstance(data, dict):
        np.savez(path, **data)
    else:
        np.save(path, data)
    assert refusal(path).startswith(message)


@pytest.mark.parametrize("suffix", sorted({".mtx", ".npy", ".npz"}))
def test_damaged_files_are_named(tmp_path: Path, suffix: str):
    path = tmp_path / f"w{suffix}"
    if suffix == ".mtx":
        mmwrite(path, SPARSE)
    elif suffix == ".npy":
        np.save(path, W)
    else:
        np.savez(path, weights=W)
    data = path.read_bytes()
    for damaged in (b"", b"no matrix", data[: len(data) // 2], data[: 2 * len(data) // 3]):
        path.write_bytes(damaged)
        assert refusal(path).startswith("not readable as ")
    # Pickled objects could run anything.
    if suffix == ".npy":
        np.save(path, np.array([print], object), allow_pickle=True)
        assert refusal(path).startswith("not readable as a NumPy array (Object arrays cannot be")
    path.unlink()
    assert refusal(path) == "No such file or directory"


LAYERS = """
safetensors = "model.safetensors"
layers = [
    { weights = "up.weight", transpose = true, bias = "up.bias", activation = "gelu" },
    { weights = "down" },
    { weights = "mix.weight", bias = "mix.bias", activation = "relu", residual = true },
]
"""
TENSORS = {
    "up.weight": real(8, 6),
    "up.bias": real(8),
    "down": real(8, 5).astype(np.float16),
    "mix.weight": real(5, 5),
    "mix.bias": real(5),
}


def description(folder: Path, text: str = LAYERS, **changes: Array) -> Path:
    save_file({**TENSORS, **changes}, folder / "model.safetensors")
    (folder / "net.toml").write_text(text)
    return folder / "net.toml"


def test_safetensors(tmp_path: Path):
    up = apply_function("gelu", X @ TENSORS["up.weight"].T + TENSORS["up.bias"])
    down = up.astype(np.float32) @ TENSORS["down"].astype(np.float32)
    mixed = np.maximum(down @ TENSORS["mix.weight"] + TENSORS["mix.bias"], 0)
    path = description(tmp_path)
    compare(path, down + mixed)
    module = load_network(path)
    run_passes(module, ["nn-outline"])
    names = [op.sym_name.data for op in module.ops]  # pyright: ignore[reportAttributeAccessIssue]
    assert names == ["up", "down", "mix", "main"]


BAD_DESCRIPTIONS = {
    "[": "Invalid",
    "layers = []": 'a network has safetensors = "FILE" and a list of layers',
    'safetensors = "model.safetensors"\nlayers = []': "a network has safetensors",
    LAYERS + "depth = 3": "does not know 'depth'",
    LAYERS.replace('"up.bias"', '"over.bias"'): (
        "layers[0]: model.safetensors has no tensor 'over.bias'"
    ),
    LAYERS.replace('"down"', '"up.weight"'): (
        "up: weights for 8 features, but the layer before gives tensor<?x8xf32>"
    ),
    LAYERS.replace('weights = "down"', 'weight = "down"'): "layers[1]: a layer is a table with",
    LAYERS.replace("transpose = true", "transpose = 1"): "layers[0]: 'transpose' must be bool",
    LAYERS.replace("residual", "residue"): "layers[2]: does not know 'residue' (known: weights",
    LAYERS.replace('"gelu"', '"step"'): "up: unknown activation 'step' (known: relu",
    LAYERS.replace('"mix.bias"', '"up.bias"'): "mix: bias has 8 entries for 5 output channels",
    LAYERS.replace('{ weights = "down" }', '{ weights = "down", residual = true }'): (
        "down: a residual layer needs as many outputs as its 8 inputs"
    ),
}


@pytest.mark.parametrize("text", BAD_DESCRIPTIONS, ids=range(len(BAD_DESCRIPTIONS)))
def test_bad_descriptions_are_named(tmp_path: Path, text: str):
    message = BAD_DESCRIPTIONS[text]
    if text.count('"up.weight"') == 2:
        message = "up: weights for 6 features, but the layer before gives tensor<?x8xf32>"
        text = text.replace('"up.weight" }', '"up.weight", transpose = true }')
    assert refusal(description(tmp_path, text)).startswith(message)


def test_bad_tensors_are_named(tmp_path: Path):
    path = description(tmp_path, **{"mix.weight": np.full((5, 5), np.nan, np.float32)})
    assert refusal(path).startswith("mix: weights[0, 0] is nan; all must be finite in float32")
    file = tmp_path / "model.safetensors"
    data = file.read_bytes()
    for damaged in (b"", data[:100], data[:-1], b"no tensors at all, by far"):
        file.write_bytes(damaged)
        with pytest.raises(DaqkfError) as caught:
            load_network(path)
        assert str(caught.value).startswith(f"{file}: not readable as safetensors (")
    file.unlink()
    with pytest.raises(DaqkfError, match=r"model\.safetensors: No such file or directory"):
        load_network(path)


def test_bfloat16(tmp_path: Path):
    path = description(tmp_path, 'safetensors = "model.safetensors"\nlayers = [{ weights = "w" }]')
    header = b'{"w":{"dtype":"BF16","shape":[6,4],"data_offsets":[0,48]}}'
    upper = W.view(np.uint32) >> 16
    data = len(header).to_bytes(8, "little") + header + upper.astype("<u2").tobytes()
    (tmp_path / "model.safetensors").write_bytes(data)
    compare(path, X @ (upper << 16).view(np.float32))


def test_other_suffixes_are_refused(tmp_path: Path):
    known = ", ".join(SUFFIXES)
    assert refusal(tmp_path / "w.pt") == f"not a network's file (known: {known})"
    assert {*SUFFIXES.values(), "huggingface"} == set(FORMATS)


def test_translate_writes_nn(tmp_path: Path):
    path = description(tmp_path)
    assert translate(["--from", "safetensors", str(path), "-o", str(tmp_path / "net.mlir")]) == 0
    assert (outcome(load_network(tmp_path / "net.mlir"), X) == outcome(load_network(path), X)).all()


@pytest.mark.parametrize("name", FORMATS)
def test_translate_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
):
    path, written = tmp_path / "bad", tmp_path / "out.mlir"
    path.write_bytes(b"\xff\x00 no network")
    assert translate(["--from", name, str(path), "-o", str(written)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"daqkf-translate: {path}: ")
    assert error.count("\n") == 1
    assert not written.exists()
    assert translate(["--from", name]) == 1
    error = capsys.readouterr().err
    assert error == f"daqkf-translate: --from {name} needs a file, and no --import-npz\n"
