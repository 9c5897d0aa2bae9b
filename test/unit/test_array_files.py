# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Arrays in files of others: what is right comes in as it is, and nothing else does."""

import gc
import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from xdsl.utils.exceptions import ParseError

from daqkf.cli.main import main
from daqkf.dialects.memory import VARIABLE, memory_budget, parse_size, require_memory
from daqkf.lowering.frontends.matrices import load_sparse
from daqkf.passes.array_files import load_archive, load_array, parse_archive
from daqkf.support.ir import make_context, parse_module

RNG = np.random.default_rng(5)
W = RNG.standard_normal((4, 6)).astype(np.float32)


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    text = header.encode("latin-1")
    text += b" " * (118 - len(text) - 1) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text + data


def of_shape(shape: str, data: bytes = b"", kind: str = "<f4") -> bytes:
    return npy(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}", data)


def saved(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    "array",
    [
        W,
        np.asfortranarray(W),
        W.astype(">f8"),
        np.array(3.5),
        np.empty((0, 4), np.int8),
        np.array("gelu"),
        np.arange(12).reshape(2, 3, 2) > 5,
        np.zeros(3, [("a", "<i2"), ("b", "<f4")]),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_arrays_come_back_as_they_are(tmp_path: Path, array: Any):
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", a=array)
    np.savez_compressed(tmp_path / "c.npz", a=array)
    found = [load_array(tmp_path / "a.npy")]
    found += [load_archive(tmp_path / name)["a"] for name in ("a.npz", "c.npz")]
    for entry in found:
        assert entry.dtype == array.dtype
        assert entry.flags.f_contiguous == array.flags.f_contiguous
        np.testing.assert_array_equal(entry, array)


BAD_ARRAYS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it does not begin as an array in .npy format does"),
    "text": (b"no array at all", "it does not begin as an array"),
    "an archive": (b"PK\x03\x04garbage", "it does not begin as an array"),
    "short": (saved(W)[:-1], "its header declares 4 × 6 of float32, 96 bytes, but 95 follow"),
    "long": (saved(W) + b"x", "its header declares 4 × 6 of float32, 96 bytes, but 97 follow"),
    "huge": (of_shape("(131072, 1310720)"), "its header declares 131072 × 1310720 of float32, 687"),
    "beyond": (of_shape("(99999999999999999999, 2)"), "its header declares 99999999999999999999 ×"),
    "negative": (of_shape("(-1, 2)"), "its header declares -1 × 2 of float32, which cannot be"),
    "objects": (saved(np.array([print], object)), "Object arrays cannot be loaded"),
    "NUL": (of_shape("(1,\0 2)"), "a damaged header: "),
    "no end": (npy("{'descr': '<f4', 'fortran"), "a damaged header: "),
    "deep": (npy("(" * 110), "a damaged header: "),
    "no dtype": (of_shape("(1,)", kind="moon"), "a damaged header: descr is not a valid dtype"),
    "shape": (of_shape("('a',)"), "a damaged header: shape is not valid"),
    "digits": (of_shape("(" + "9" * 60 + ",)"), "its header declares 9999"),
    "version": (npy("{}", version=7), "version 7.0 of the .npy format"),
    "half a header": (saved(W)[:40], "a damaged header: EOF"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays_are_named(tmp_path: Path, name: str):
    data, message = BAD_ARRAYS[name]
    path = tmp_path / "w.npy"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        load_array(path, "samples")
    assert str(caught.value).startswith(f"{path}: not readable as samples ({message}")
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("w.npy", data)
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        load_archive(tmp_path / "w.npz")
    place = f"{tmp_path / 'w.npz'}: not readable as a NumPy archive"
    assert str(caught.value).startswith(f"{place} ('w': {message}")


@pytest.mark.parametrize("position", range(0, 128, 3))
@pytest.mark.parametrize("value", [0, 0x28, 0x39, 0xFF])
def test_a_wrong_byte_in_a_header_is_no_surprise(tmp_path: Path, position: int, value: int):
    data = bytearray(saved(W))
    data[position] = value
    path = tmp_path / "w.npy"
    path.write_bytes(data)
    message = ""
    try:
        assert load_array(path).nbytes == W.nbytes
    except ValueError as error:
        message = str(error)
    start = f"{path}: not readable as a NumPy array ("
    assert not message or (message.startswith(start) and "\n" not in message)


def test_archives_that_lie_are_refused(tmp_path: Path):
    path = tmp_path / "w.npz"

    def refusal() -> str:
        with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
            load_archive(path)
        return str(caught.value).removeprefix(f"{path}: not readable as a NumPy archive ")

    np.savez(path, w=W)
    data = path.read_bytes()
    for end in range(0, len(data) - 1, 7):
        path.write_bytes(data[:end])
        assert refusal() == "(no archive)"
    damaged = bytearray(data)
    damaged[200] ^= 1
    path.write_bytes(damaged)
    assert refusal() == "('w': Bad CRC-32 for file 'w.npy')"
    np.savez_compressed(path, w=np.tile(W, (9, 9)))
    damaged = bytearray(path.read_bytes())
    damaged[200:210] = b"\xff" * 10
    path.write_bytes(damaged)
    assert refusal().startswith("('w': Error -3 while decompressing data")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", saved(W))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("w.npy", saved(2 * W))
    assert refusal() == "(has two arrays 'w')"
    with pytest.raises(ValueError, match=r"^no archive$"):
        parse_archive(data[:100])


def test_what_an_archive_declares_is_held_against_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    np.savez_compressed(tmp_path / "w.npz", a=np.zeros((512, 512)), b=np.zeros((512, 512)))
    assert (tmp_path / "w.npz").stat().st_size < 10_000
    monkeypatch.setenv(VARIABLE, "3M")
    with pytest.raises(ValueError, match=r"all of it takes 4\.0 MiB of memory, of which 3\.0 MiB"):
        load_archive(tmp_path / "w.npz")
    monkeypatch.setenv(VARIABLE, "5M")
    assert set(load_archive(tmp_path / "w.npz")) == {"a", "b"}


@pytest.mark.parametrize("kind", ["coo", "csr", "csc", "bsr", "dia"])
def test_sparse_matrices_come_back(tmp_path: Path, kind: str):
    for of in (sparse.coo_matrix, sparse.coo_array):
        matrix = of(W * (np.abs(W) > 0.7)).asformat(kind)
        sparse.save_npz(tmp_path / "s.npz", matrix)
        found = load_sparse(tmp_path / "s.npz")
        assert found.format == kind
        np.testing.assert_array_equal(found.toarray(), matrix.toarray())


def changed(**arrays: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda found: found | arrays


BAD_SPARSE = {
    "column": (changed(indices=np.array([0, 9, 1])), "indices"),
    "negative": (changed(indices=np.array([0, -1, 1])), "indices must be >= 0"),
    "rows": (changed(indptr=np.array([0, 3, 1, 3])), "indptr"),
    "few": (changed(indptr=np.array([0, 3])), "index pointer"),
    "reals": (changed(indices=np.array([0.0, 1.0, 1.0])), "'indices' is no vector of integers"),
    "format": (changed(format=np.array("lil")), "unknown format 'lil' (known: coo, csr"),
    "number": (changed(format=np.array(3)), "unknown format 3"),
    "shape": (changed(shape=np.array([3, 2, 1])), "its shape is not that of a matrix"),
    "none": (lambda found: {"shape": found["shape"]}, "has no array 'data'"),
    "no rows": (lambda found: {k: v for k, v in found.items() if k != "indptr"}, "has no array"),
}


@pytest.mark.parametrize("name", BAD_SPARSE)
def test_bad_sparse_matrices_are_named(tmp_path: Path, name: str):
    change, message = BAD_SPARSE[name]
    good = sparse.csr_array(np.array([[1.0, 0], [2, 3], [0, 0]]))
    parts = {
        "format": np.array("csr"),
        "shape": np.array(good.shape),
        "data": good.data,
        "indices": good.indices,
        "indptr": good.indptr,
    }
    np.savez(tmp_path / "s.npz", **change(parts))
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        load_sparse(tmp_path / "s.npz")
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 's.npz'}: not readable as a SciPy sparse matrix (")
    assert message in text


def test_budget(monkeypatch: pytest.MonkeyPatch):
    sizes = {"4096": 4096, "1k": 1024, "1.5 MiB": 3 << 19, "8G": 8 << 30, "2TB": 2 << 40}
    assert {text: parse_size(text) for text in sizes} == sizes
    for text in ("", "0", "-1G", "G", "8X", "1e9", "nan"):
        with pytest.raises(ValueError, match="is no amount of memory"):
            parse_size(text)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert 1 << 28 < memory_budget() < 1 << 44
    monkeypatch.setenv(VARIABLE, "2K")
    assert memory_budget() == 2048
    require_memory(2048, "it")
    with pytest.raises(ValueError, match=r"^it takes 2\.0 KiB of memory, of which 2\.0 KiB may be"):
        require_memory(2049, "it")
    monkeypatch.setenv(VARIABLE, "much")
    with pytest.raises(ValueError, match=r"^DAQKF_MEMORY: 'much' is no amount of memory"):
        memory_budget()


def test_the_command_line_sets_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv(VARIABLE, "1G")
    path = tmp_path / "w.npy"
    np.save(path, np.zeros((64, 64)))
    arguments = ["compile", str(path), "-o", str(tmp_path / "out"), "--memory"]
    assert main([*arguments, "8K"]) == 1
    assert f"{path}: not readable as weights" in (text := capsys.readouterr().err)
    assert "64 × 64 float64 takes 32.0 KiB of memory, of which 8.0 KiB may be used" in text
    with pytest.raises(SystemExit):
        main([*arguments, "much"])
    assert "--memory: 'much' is no amount of memory" in capsys.readouterr().err


@pytest.fixture
def no_collection() -> Iterator[None]:
    """What others left must not be finalised where a parser is at the limit of recursion."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


MODULE = """func.func @f(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {{
  %w = spaq.constant {} : {}
  func.return %x : tensor<?x2xf32>
}}"""


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(
    ("literal", "kind", "message"),
    [
        ("dense<[[1.0e300]]>", "tensor<1x1xf32>", "float too large to pack with f format"),
        ("dense<1.0e300>", "tensor<1x1xf32>", "float too large to pack with f format"),
        ("dense<300>", "tensor<1xi8>", "Integer value 300 is out of range for type i8"),
        ("dense<0>", "tensor<99999999999xi8>", "a constant of this type takes 838.2 GiB of memory"),
        ("dense<0>", "tensor<99999999999999999999xi8>", "a constant of this type takes 780.6 EiB"),
        ('dense<"0x00">', "tensor<99999999999xi8>", "a constant of this type takes 838.2 GiB"),
        ("dense<" + "[" * 5000, "tensor<1xi8>", "nested too deeply"),
    ],
)
def test_constants_beyond_all_bounds_have_a_place(literal: str, kind: str, message: str):
    with pytest.raises(ParseError) as caught:
        parse_module(make_context(), MODULE.format(literal, kind), "m.mlir")
    assert f"spaq.constant: {message}" in caught.value.msg
    assert str(caught.value.span.get_location()).startswith("m.mlir:2:")


def test_files_that_are_no_text_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from daqkf.cli.opt import main as opt
    from daqkf.cli.translate import main as translate

    binary, deep, weights = tmp_path / "m.mlir", tmp_path / "t.toml", tmp_path / "w.npy"
    binary.write_bytes(b"\xff\xfe")
    deep.write_text("a = " + "[" * 100_000)
    np.save(weights, W)
    for tool, arguments, message in (
        (opt, [binary], f"{binary}: not a text file"),
        (translate, [binary, "--to", "mlir"], f"{binary}: not a text file"),
        (main, ["compile", weights, "--target", deep, "-o", tmp_path / "o"], f"{deep}: "),
        (main, ["compile", deep, "-o", tmp_path / "o"], f"{deep}: maximum recursion depth"),
    ):
        assert tool([str(argument) for argument in arguments]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert not (tmp_path / "o").exists()
