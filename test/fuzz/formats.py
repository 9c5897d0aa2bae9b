# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Every format that DAQKF reads: small files of it, how they are changed, and what reads them."""

import hashlib
import io
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from daqkf.hw_targets.image_format import Header
from daqkf.support.errors import DaqkfError
from fuzz import mutations

TEST = Path(__file__).parent.parent
Read = Callable[[Path], object]
"""Reads the file at a path."""


@dataclass(frozen=True)
class Format:
    """A format: files that are right, how they are changed, and what reads them."""

    name: str
    suffix: str
    seeds: Callable[[], Sequence[bytes]]
    change: Callable[[Random, bytes, bytes], bytes]
    """A changed file, of one that is right and of another one to take parts from."""
    read: Read
    refusals: tuple[type[Exception], ...] = (DaqkfError,)
    """What it raises for files that it refuses."""
    weight: int = 10
    """How often it has its turn: fewer times if it takes long."""
    files: dict[str, Callable[[], bytes]] = field(default_factory=dict)
    """Files beside the one that is changed."""


def _bytes_or(change: Callable[[Random, bytes, bytes], bytes], share: float = 0.25) -> Any:
    def either(rng: Random, data: bytes, other: bytes) -> bytes:
        if rng.random() < share:
            return mutations.bytes_of(rng, data, other)
        return change(rng, data, other)

    return either


def _text(rng: Random, data: bytes, other: bytes) -> bytes:
    changed = mutations.text_of(rng, data.decode(), other.decode())
    return changed.encode("utf-8", "surrogatepass")


def _json(rng: Random, data: bytes, other: bytes) -> bytes:
    return mutations.json_of(rng, data.decode()).encode("utf-8", "surrogatepass")


# ONNX.


def _onnx_seeds() -> list[bytes]:
    from fuzz.onnx_models import models

    return [model.SerializeToString() for model in models()]


def _onnx(rng: Random, data: bytes, other: bytes) -> bytes:
    import onnx

    model = onnx.ModelProto()
    model.ParseFromString(data)
    if rng.random() < 0.1:
        part = onnx.ModelProto()
        part.ParseFromString(other)
        model.MergeFrom(part)
    mutations.message_of(rng, model)
    return model.SerializeToString()


def _load_network(path: Path) -> object:
    from daqkf.compiler.formats import load_network

    return load_network(path)


# Arrays.


def _npy_seeds() -> list[bytes]:
    rng = np.random.default_rng(0)
    arrays = (
        rng.standard_normal((3, 2)).astype(np.float32),
        rng.standard_normal((4, 3)),
        rng.integers(-9, 9, (2, 5)).astype(np.int8),
        np.asfortranarray(rng.standard_normal((3, 4)).astype(np.float16)),
        np.arange(4) > 1,
    )
    return [mutations.npy_bytes(array) for array in arrays]


def _npy(rng: Random, data: bytes, other: bytes) -> bytes:
    return mutations.npy_of(rng, data)


def _load_array(path: Path) -> object:
    from daqkf.passes.array_files import load_array

    return load_array(path)


def _npz_seeds() -> list[bytes]:
    from scipy import sparse

    rng = np.random.default_rng(1)
    weights = rng.standard_normal((3, 2)).astype(np.float32)
    found = [
        {"weights": weights},
        {"weights": weights, "bias": weights[0], "activation": np.array("relu")},
    ]
    seeds = [
        mutations.packed({f"{name}.npy": mutations.npy_bytes(a) for name, a in arrays.items()})
        for arrays in found
    ]
    matrix = sparse.random_array((4, 6), density=0.4, rng=rng, dtype=np.float32)
    for kind in ("coo", "csr", "csc", "bsr", "dia"):
        data = io.BytesIO()
        sparse.save_npz(data, matrix.asformat(kind), compressed=kind == "csr")
        seeds.append(data.getvalue())
    return seeds


def _npz(rng: Random, data: bytes, other: bytes) -> bytes:
    return mutations.npz_of(rng, data, other)


def _load_sparse(path: Path) -> object:
    from daqkf.compiler.formats import load_weights

    return load_weights(str(path))


def _import_layer(path: Path) -> object:
    from daqkf.cli.translate import _import

    return _import(str(path))


def _samples_seeds() -> list[bytes]:
    rng = np.random.default_rng(2)
    arrays = {
        "weights": rng.standard_normal((3, 2)).astype(np.float32),
        "bias": rng.standard_normal(2).astype(np.float32),
        "activation": np.array("gelu"),
        "samples": rng.standard_normal((5, 3)).astype(np.float32),
    }
    return [mutations.packed({f"{n}.npy": mutations.npy_bytes(a) for n, a in arrays.items()})]


def _mtx_seeds() -> list[bytes]:
    return [
        b"%%MatrixMarket matrix coordinate real general\n% a comment\n3 4 3\n"
        b"1 1 0.5\n2 4 -1e-3\n3 2 7\n",
        b"%%MatrixMarket matrix coordinate pattern general\n3 3 2\n1 1\n2 3\n",
        b"%%MatrixMarket matrix coordinate integer symmetric\n3 3 3\n1 1 4\n2 1 -5\n3 3 1\n",
        b"%%MatrixMarket matrix coordinate real skew-symmetric\n3 3 2\n2 1 1.5\n3 1 2.5\n",
        b"%%MatrixMarket matrix array real general\n2 3\n1\n2\n3\n4\n5\n6\n",
        b"%%MatrixMarket matrix array real symmetric\n2 2\n1.5\n-2\n3\n",
    ]


# Associative arrays.


def _assoc_seeds() -> list[bytes]:
    from daqkf import AssocArray

    rng, found = np.random.default_rng(3), list[bytes]()
    for count, largest in ((0, 1), (1, 9), (12, 1000), (30, 1 << 40)):
        places = rng.permutation(35)[:count]
        array = AssocArray(
            [f"row{place // 7}" for place in places],
            [f"π{place % 7}" for place in places],
            rng.integers(1, largest + 1, count),
        )
        array.save(path := Path("seed.npz"))
        found.append(path.read_bytes())
    return found


def _load_assoc(path: Path) -> object:
    from daqkf import AssocArray

    return AssocArray.load(path).to_dict()


# Safetensors and descriptions.


@cache
def safetensors() -> bytes:
    """A file with tensors of several types."""
    from safetensors.numpy import save

    rng = np.random.default_rng(4)
    return save(
        {
            "up.weight": rng.standard_normal((4, 3)).astype(np.float32),
            "up.bias": rng.standard_normal(4).astype(np.float16),
            "down.weight": rng.standard_normal((3, 4)),
        }
    )


_DESCRIPTION = b"""safetensors = "model.safetensors"
layers = [
    { weights = "up.weight", transpose = true, bias = "up.bias", activation = "gelu" },
    { weights = "down.weight", transpose = true, residual = false },
]
"""


def _tensors(rng: Random, data: bytes, other: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header, rest = data[8 : 8 + length].decode(), data[8 + length :]
    if rng.random() < 0.15:
        kinds = ("BF16", "F8_E4M3", "F8_E5M2", "F4", "BOOL", "U64", "I8", "F64")
        text = header.replace(rng.choice(("F32", "F16", "F64")), rng.choice(kinds))
    else:
        text = mutations.json_of(rng, header)
    encoded = text.encode("utf-8", "surrogatepass")
    said = len(encoded) if rng.random() < 0.95 else rng.choice(mutations.NUMBERS) & ((1 << 64) - 1)
    return said.to_bytes(8, "little") + encoded + rest


def _load_beside(path: Path) -> object:
    """The network that the description beside a file of tensors has."""
    return _load_network(path.with_name("network.toml"))


# Language models.


@cache
def _decoder_files() -> dict[str, bytes]:
    """A GGUF file, and the files of a folder, of one small decoder."""
    from language_models import SMALL, changed, fields_of, random_weights, write_folder, write_gguf

    config = changed(SMALL, layers=1, width=8, hidden=8, heads=2, groups=1, features=4)
    weights = random_weights(config)
    write_gguf(Path("small.gguf"), fields_of(config), weights)
    write_gguf(Path("fewer.gguf"), fields_of(config), weights, kind="F16")
    found = {name: Path(name).read_bytes() for name in ("small.gguf", "fewer.gguf")}
    folder = write_folder(Path("folder"), changed(config, pairs="halves"), weights)
    return found | {path.name: path.read_bytes() for path in folder.iterdir()}


def _gguf_seeds() -> list[bytes]:
    return [_decoder_files()[name] for name in ("small.gguf", "fewer.gguf")]


def _gguf(rng: Random, data: bytes, other: bytes) -> bytes:
    """A file with other counts, lengths, types, extents or offsets, or with other texts."""
    changed = bytearray(data)
    names = (b"llama.", b"tokenizer.", b"general.", b"token_embd", b"blk.0.", b"output", b"GGUF")
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = changed.find(rng.choice(names), rng.randrange(len(changed) // 2))
        at = max(at, 0) + rng.randrange(-8, 64)
        size = rng.choice((1, 1, 4, 8))
        number = rng.choice((*mutations.NUMBERS, *range(16))) & ((1 << 8 * size) - 1)
        at = min(max(at, 0), len(changed) - size)
        changed[at : at + size] = number.to_bytes(size, "little")
    return bytes(changed)


def _load_language_model(path: Path) -> object:
    """The network and the tokeniser."""
    from daqkf.compiler.language_models import load_language_model

    model = load_language_model(path)
    try:
        return model.network(), model.text().encode("the café 12")
    except ValueError as error:
        raise DaqkfError(str(error)) from None


def _load_folder_around(path: Path) -> object:
    """The model of a folder, one of whose files is the one that was changed."""
    name = path.parent.name
    folder = path.parent / "model"
    folder.mkdir(exist_ok=True)
    for file, content in _decoder_files().items():
        if not file.endswith(".gguf"):
            (folder / file).write_bytes(content)
    (folder / f"{name}.json").write_bytes(path.read_bytes())
    return _load_language_model(folder)


# IR.


def _chunks(*patterns: str) -> list[bytes]:
    """The modules of lit tests, without their comments, but no large ones."""
    found: list[bytes] = []
    for pattern in patterns:
        for path in sorted(TEST.glob(pattern)):
            for chunk in path.read_text(encoding="utf-8").split("// -----"):
                lines = [line for line in chunk.splitlines() if not line.lstrip().startswith("//")]
                text = "\n".join(lines).strip() + "\n"
                if 20 < len(text) < 1500:
                    found.append(text.encode())
    return found


def _ir_seeds() -> list[bytes]:
    return _chunks("dialects/*/ops.mlir", "dialects/*/canonicalize.mlir", "passes/*.mlir")


@cache
def _context() -> Any:
    from daqkf.support.ir import make_context

    return make_context()


def _parse_ir(path: Path) -> object:
    """As `daqkf-opt` reads its input."""
    from xdsl.utils.exceptions import DiagnosticException, ParseError

    from daqkf.support.ir import parse_module

    try:
        return parse_module(_context(), path.read_bytes(), str(path))
    except (DiagnosticException, ParseError, ValueError) as error:
        raise Refused(error) from None


def _pipeline(path: Path) -> object:
    """As `daqkf-opt -p` reads a pipeline."""
    from xdsl.utils.arg_spec import parse_pipeline
    from xdsl.utils.exceptions import ArgSpecParseError, ParseError

    from daqkf.cli.opt import ALL_PASSES
    from daqkf.passes import GENERAL_PASSES
    from daqkf.passes.options import instance

    known = ALL_PASSES | GENERAL_PASSES
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        for spec in parse_pipeline(text):
            if spec.name not in known:
                raise ValueError(f"unknown pass '{spec.name}'")
            instance(known[spec.name](), spec)
    except (ArgSpecParseError, ParseError, ValueError) as error:
        raise Refused(error) from None
    return None


_PIPELINES = (
    b"canonicalize,cse,nn-raise,nn-outline",
    b"spaq-prune{sparsity=0.5},spaq-calibrate{samples=x.npy},spaq-analyze{tile=4,2}",
    b"spaq-quantize{kind=ternary magnitudes=1 split=0.02},dfke-fuse,dfke-specialize-bitwidth",
    b"dfke-schedule{target=tiny family=auto},lower-dfke-to-rpea,lower-rpea-to-hw{system=true}",
    b"nn-merge{target=generic},nn-attend{target=wide-norm max-tokens=8}",
)


class Refused(Exception):
    """A refusal that a command line makes one line of."""

    def __init__(self, cause: Exception):
        super().__init__(str(cause))
        self.cause = cause


# Targets and tables.


def _target_seeds() -> list[bytes]:
    import daqkf.hw_targets as package

    folder = Path(next(iter(package.__path__))) / "targets"
    return [path.read_bytes() for path in sorted(folder.glob("*.toml"))]


def _load_target(path: Path) -> object:
    from daqkf.hw_targets import load_target

    return load_target(str(path))


def _table_seeds() -> list[bytes]:
    from daqkf.passes.quantize.level_table import Grid, LevelTable, load_table

    table = load_table()

    def small(grid: Grid) -> Grid:
        values = grid.values.reshape(*map(len, grid.axes), -1)[:2, :2, :2]
        return Grid(tuple(axis[:2] for axis in grid.axes), values.reshape(8, -1))

    parts = (small(table.sqnr), {shift: small(grid) for shift, grid in table.cycles.items()})
    return [LevelTable(table.levels, *parts, small(table.usual), table.profile).dumps().encode()]


def _table(rng: Random, data: bytes, other: bytes) -> bytes:
    """A table with other entries, whose checksum is mostly right."""
    tree = json.loads(data)
    tree.pop("checksum")
    tree = mutations.tree_of(rng, tree)
    if isinstance(tree, dict) and rng.random() < 0.95:
        canonical = json.dumps(tree, sort_keys=True, separators=(",", ":"))
        tree["checksum"] = hashlib.sha256(canonical.encode("utf-8", "replace")).hexdigest()
    return json.dumps(tree).encode()


def _load_table(path: Path) -> object:
    from daqkf.passes.quantize.level_table import LevelTable

    return LevelTable.loads(path.read_bytes(), str(path))


# Results that `--resume` keeps.


def _resumed(path: Path) -> object:
    from daqkf.runtime.accelerators import _kept

    return _kept(path)


def _resumed_seeds() -> list[bytes]:
    from daqkf.passes.array_files import archive
    from daqkf.runtime.accelerators import _HASH, _hash

    results = [np.ones((3, 2), np.int8), np.zeros((1, 4), np.int8)]
    arrays = {f"y{number}": y for number, y in enumerate(results)}
    return [archive(arrays | {_HASH: _hash(results)})]


# Saved designs and networks, and images.


@cache
def _saved() -> dict[str, dict[str, bytes]]:
    """The files of a design and of a network, without those that nothing reads again."""
    import daqkf
    from fuzz.onnx_models import dense_layers

    rng = np.random.default_rng(5)
    design = daqkf.compile(rng.standard_normal((4, 3)).astype(np.float32), target="tiny")
    design.save("design")
    Path("model.onnx").write_bytes(dense_layers().SerializeToString())
    daqkf.compile("model.onnx", target="tiny").save("network")
    kept = {"design": ("design.mlir", "layer.mlir", "program.bin"), "network": ()}
    found: dict[str, dict[str, bytes]] = {}
    for name, files in kept.items():
        files = files or ("network.mlir", "arrays.mlir")
        facts = json.loads(Path(name, f"{name}.json").read_bytes())
        facts["files"] = {file: facts["files"][file] for file in files}
        found[name] = {file: Path(name, file).read_bytes() for file in files}
        found[name][f"{name}.json"] = json.dumps(facts).encode()
    return found


def _sealed(files: dict[str, bytes], manifest: str) -> dict[str, bytes]:
    """The files with a manifest that has their hashes."""
    facts = json.loads(files[manifest])
    hashes = {n: hashlib.sha256(data).hexdigest() for n, data in files.items() if n != manifest}
    return files | {manifest: json.dumps({**facts, "files": hashes}).encode()}


def _folder_seeds(name: str) -> list[bytes]:
    files = _saved()[name]
    return [mutations.packed(files)]


def _folder(name: str) -> Callable[[Random, bytes, bytes], bytes]:
    """A changed folder, as an archive: the hashes in the manifest are mostly those of its files."""

    def change(rng: Random, data: bytes, other: bytes) -> bytes:
        files, manifest = mutations.members_of(data), f"{name}.json"
        file = rng.choice([manifest, manifest, manifest, *files])
        if file == manifest:
            files[file] = _json(rng, files[file], b"")
        elif file.endswith(".mlir"):
            text = _text if rng.random() < 0.9 else mutations.bytes_of
            files = _sealed(files | {file: text(rng, files[file], files[file])}, manifest)
        else:
            files = _sealed(files | {file: changed_image(rng, files[file], b"")}, manifest)
        return mutations.packed(files)

    return change


def _load_folder(name: str) -> Read:
    def read(path: Path) -> object:
        from daqkf.compiler.compiled_network import CompiledNetwork
        from daqkf.compiler.design import Design

        folder = path.with_suffix("")
        folder.mkdir(exist_ok=True)
        for file, content in mutations.members_of(path.read_bytes()).items():
            (folder / file).write_bytes(content)
        return (Design if name == "design" else CompiledNetwork).load(folder)

    return read


def _facts_array(path: Path) -> object:
    """As `daqkf-translate --array` reads it."""
    from daqkf.cli.translate import _array

    return _array(path)


def _image_seeds() -> list[bytes]:
    return [_saved()["design"]["program.bin"]]


@cache
def _array() -> Any:
    from daqkf.cli.translate import _array as read

    Path("array.json").write_bytes(_saved()["design"]["design.json"])
    return read(Path("array.json"))


def changed_image(rng: Random, data: bytes, other: bytes) -> bytes:
    """An image with changed words, whose header mostly fits them."""
    words = list(np.frombuffer(data[: len(data) // 4 * 4], "<u4"))
    body = words[len(Header) :]
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(body)) if body else 0
        match rng.randrange(6):
            case 0 if body:
                body[at] = int(body[at]) ^ (1 << rng.randrange(32))
            case 1 if body:
                body[at] = rng.choice(mutations.NUMBERS) & 0xFFFFFFFF
            case 2:
                del body[at : at + rng.choice((1, 1, 2, 9))]
            case 3:
                body[at:at] = body[at : at + rng.choice((1, 2, 9, 300))]
            case 4 if body:
                body[at] = body[rng.randrange(len(body))]
            case _:
                body.insert(at, (rng.randrange(9) << 28) | rng.choice((0, 0, 1, 2, 1 << 20)))
    content = np.array(body, np.uint64).astype("<u4").tobytes()
    header = np.array(words[: len(Header)], "<u4")
    header[Header.LENGTH], header[Header.CRC] = len(body), zlib.crc32(content)
    if rng.random() < 0.05:
        header[rng.randrange(len(header))] ^= 1 << rng.randrange(32)
    return header.tobytes() + content


def _read_image(path: Path) -> object:
    from daqkf.lowering.image.disassemble import import_program
    from daqkf.lowering.image.listing import listing

    data, array = path.read_bytes(), _array()
    listing(data, array.config.data)
    return import_program(data, array)


VALUES = (ValueError, OSError)
"""What functions raise that only command lines call."""

FORMATS = {
    found.name: found
    for found in (
        Format("onnx", ".onnx", _onnx_seeds, _bytes_or(_onnx, 0.15), _load_network, weight=40),
        Format("npy", ".npy", _npy_seeds, _bytes_or(_npy), _load_network, weight=60),
        Format("array", ".npy", _npy_seeds, _bytes_or(_npy), _load_array, VALUES, weight=30),
        Format("npz", ".npz", _npz_seeds, _bytes_or(_npz), _load_network, weight=40),
        Format("sparse", ".npz", _npz_seeds, _bytes_or(_npz), _load_sparse, weight=30),
        Format("layer", ".npz", _samples_seeds, _bytes_or(_npz), _import_layer, VALUES, weight=8),
        Format("mtx", ".mtx", _mtx_seeds, _bytes_or(_text), _load_network, weight=60),
        Format("assoc", ".npz", _assoc_seeds, _bytes_or(_npz, 0.15), _load_assoc, weight=25),
        Format(
            *("description", ".toml", lambda: [_DESCRIPTION], _bytes_or(_text), _load_network),
            weight=25,
            files={"model.safetensors": safetensors},
        ),
        Format(
            *("safetensors", ".safetensors", lambda: [safetensors()]),
            *(_bytes_or(_tensors), _load_beside),
            weight=40,
            files={"network.toml": lambda: _DESCRIPTION},
        ),
        Format("gguf", ".gguf", _gguf_seeds, _bytes_or(_gguf), _load_language_model, weight=40),
        Format(
            *("config", ".json", lambda: [_decoder_files()["config.json"]], _bytes_or(_json)),
            *(_load_folder_around,),
            weight=20,
        ),
        Format(
            *("tokenizer", ".json", lambda: [_decoder_files()["tokenizer.json"]]),
            *(_bytes_or(_json), _load_folder_around),
            weight=10,
        ),
        Format(
            *("linalg", ".mlir", lambda: _chunks("lowering/import_linalg.mlir", "fuzz/seeds/*")),
            *(_bytes_or(_text, 0.1), _load_network),
            weight=4,
        ),
        Format("ir", ".mlir", _ir_seeds, _bytes_or(_text, 0.1), _parse_ir, (Refused,), weight=8),
        Format(
            *("pipeline", ".txt", lambda: _PIPELINES, _bytes_or(_text), _pipeline, (Refused,)),
            weight=30,
        ),
        Format("target", ".toml", _target_seeds, _bytes_or(_text), _load_target, VALUES, weight=50),
        Format("table", ".json", _table_seeds, _bytes_or(_table), _load_table, VALUES, weight=8),
        Format("resumed", ".npz", _resumed_seeds, _bytes_or(_npz), _resumed, VALUES, weight=12),
        Format(
            *("design", ".zip", lambda: _folder_seeds("design"), _folder("design")),
            *(_load_folder("design"), (DaqkfError,)),
            weight=1,
        ),
        Format(
            *("network", ".zip", lambda: _folder_seeds("network"), _folder("network")),
            *(_load_folder("network"), (DaqkfError,)),
            weight=1,
        ),
        Format(
            *("facts", ".json", lambda: [_saved()["design"]["design.json"]], _bytes_or(_json)),
            *(_facts_array, VALUES),
            weight=20,
        ),
        Format("image", ".bin", _image_seeds, changed_image, _read_image, VALUES, weight=16),
    )
}
