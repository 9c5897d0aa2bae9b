# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Changes of files that keep most of their structure, so that readers come past the first check."""

import io
import json
import re
import zipfile
from random import Random
from typing import Any

import numpy as np

NUMBERS = (
    *(0, 1, -1, 2, 3, 7, 8, 127, 128, 255, 256, -128, 1 << 15, 1 << 16, (1 << 31) - 1, 1 << 31),
    *(-(1 << 31), 1 << 32, (1 << 62), (1 << 63) - 1, -(1 << 63), 1 << 63, 1 << 64, 10**30),
)
"""Where counts and extents go wrong."""
REALS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 1e30, 3.4e38, 1e308, float("inf"), float("nan"))
TEXTS = (
    *("", " ", "x", "../../victim", "/etc/passwd", "π", "\0", "\ud800", "a" * 300, "-1", "1e999"),
    *("nan", "0x", "null", "true", "[", "]]", "{", "}", "<", ">", "!", "%0", "@f", "#", '"', "\\"),
    *("\n", "\r", "\t", "\x1b[2J", "dense<", "tensor<", "i999999999", "1" * 5000),
)
_TOKEN = re.compile(r"[A-Za-z_][\w.$-]*|[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|\s+|.", re.DOTALL)


def bytes_of(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """A few bytes changed, cut out, repeated, or taken from another file."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        at = rng.randrange(len(found) + 1)
        length = rng.choice((1, 1, 2, 4, 8, 16, rng.randrange(1, 200)))
        match rng.randrange(7):
            case 0 if at < len(found):
                found[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(found):
                found[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                del found[at : at + length]
            case 3:
                found[at:at] = found[at : at + length] * rng.choice((1, 1, 2, 50))
            case 4:
                found[at:at] = rng.randbytes(length)
            case 5 if other:
                start = rng.randrange(len(other))
                found[at : at + length] = other[start : start + length]
            case 6 if rng.random() < 0.3:
                del found[at:]
            case _:
                number = rng.choice(NUMBERS) & ((1 << 64) - 1)
                size = rng.choice((1, 2, 4, 8))
                order = rng.choice(("little", "big"))
                found[at : at + size] = (number & ((1 << (8 * size)) - 1)).to_bytes(size, order)
    return bytes(found)


def number_of(rng: Random, text: str) -> str:
    """A number in place of another one."""
    if re.fullmatch(r"[-+]?\d+", text) and rng.random() < 0.6:
        return str(int(text[:20]) + rng.choice((-2, -1, 1, 2, 100)))
    return rng.choice((*map(str, NUMBERS), *map(repr, REALS), "007", "1_000", "1.", ".5", "--1"))


def text_of(rng: Random, text: str, other: str = "") -> str:
    """A few words, numbers or signs changed, cut out, swapped, repeated, or taken from another."""
    tokens = _TOKEN.findall(text)
    words = [at for at, token in enumerate(tokens) if not token.isspace()]
    if not words:
        return rng.choice(TEXTS)
    numbers = [at for at in words if tokens[at].lstrip("+-")[:1].isdigit()]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at, to = rng.choice(words), rng.choice(words)
        match rng.randrange(9):
            case 0 | 1 | 2 if numbers:
                at = rng.choice(numbers)
                tokens[at] = number_of(rng, tokens[at])
            case 3:
                tokens[at] = ""
            case 4:
                tokens[at], tokens[to] = tokens[to], tokens[at]
            case 5:
                tokens[at] = tokens[to]
            case 6:
                first, last = min(at, to), max(at, to)
                if last - first < 60:
                    part = "".join(tokens[first:last])
                    tokens[first] = part * rng.choice((0, 2, 3)) + tokens[first]
            case 7 if other:
                tokens[at] = rng.choice(_TOKEN.findall(other) or [""])
            case _:
                tokens[at] = rng.choice(TEXTS)
    if rng.random() < 0.03:
        return "".join(tokens[: rng.choice(words)])
    if rng.random() < 0.01:
        # Deep nesting.
        at, sign = rng.choice(words), rng.choice(("[", "(", "{", "tensor<", "((", "[[", "-"))
        tokens[at] = sign * rng.choice((50, 3000))
    return "".join(tokens)


def value_of(rng: Random, value: Any) -> Any:
    """Another value in place of one in JSON, mostly of the same type."""
    if isinstance(value, bool) or rng.random() < 0.3:
        values = (None, True, False, 0, -1, 1.5, "", "x", [], {}, [1], {"a": 1}, 1 << 64, "1", [[]])
        return rng.choice(values)
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, -value, 2 * value, *NUMBERS))
    if isinstance(value, float):
        return rng.choice((-value, value * 1e9, *REALS))
    if isinstance(value, str):
        return rng.choice((value + "x", value[:-1], value.upper(), *TEXTS))
    if isinstance(value, list):
        return rng.choice((value[:-1], value + value[:1], value[::-1], [value], value * 50))
    return None


def tree_of(rng: Random, tree: Any) -> Any:
    """JSON with a few values changed, removed or added. The argument is changed, too."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(tree))
        if not places:
            return value_of(rng, tree)
        parent, key = rng.choice(places)
        match rng.randrange(6):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[rng.choice(TEXTS)] = parent[key]
            case 1:
                parent.insert(key, parent[key])
            case 2:
                other, place = rng.choice(places)
                # A copy, as JSON is a tree.
                parent[key] = json.loads(json.dumps(other[place]))
            case _:
                parent[key] = value_of(rng, parent[key])
    return tree


def _places(tree: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, dict | list):
            keys = list(node) if isinstance(node, dict) else range(len(node))
            found += [(node, key) for key in keys]
            left += [node[key] for key in keys]
    return found


def json_of(rng: Random, text: str) -> str:
    """The text of JSON with changed values, or itself changed."""
    if rng.random() < 0.2:
        return text_of(rng, text)
    return json.dumps(tree_of(rng, json.loads(text)))


_DTYPES = (
    *("<f4", "<f8", "<f2", ">f4", "|i1", "<i2", "<i4", "<i8", "|u1", "<u8", "|b1", "<c8", "<c16"),
    *("|S3", "<U4", "|O", "<M8[s]", "|V3", "|V0", "<U0", "<f16"),
)


def array_of(rng: Random, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array with other values, of another shape or of another type."""
    array = array.copy()
    match rng.randrange(6):
        case 0 | 1 if array.size and array.dtype.kind in "iuf":
            number = rng.choice(REALS if array.dtype.kind == "f" else NUMBERS)
            if array.dtype.kind != "f":
                low, high = np.iinfo(array.dtype).min, np.iinfo(array.dtype).max
                number = min(max(int(number), int(low)), int(high))
            array.reshape(-1)[rng.randrange(array.size)] = number
        case 2:
            shapes = ((-1,), (1, *array.shape), (*array.shape, 1), array.shape[::-1])
            array = array.reshape(rng.choice(shapes)) if array.size else array
        case 3:
            array = array[:-1] if array.ndim else array
        case 4:
            try:
                array = array.astype(rng.choice(_DTYPES))
            except (TypeError, ValueError):
                array = np.zeros(array.shape, "<f8")
        case _:
            array = np.repeat(array, 2, axis=0) if array.ndim else np.array([array, array])
    return array


def npy_of(rng: Random, data: bytes) -> bytes:
    """A `.npy` file whose header says something else, or has more or less behind it."""
    length = int.from_bytes(data[8:10], "little")
    header, rest = data[10 : 10 + length].decode("latin-1"), data[10 + length :]
    if rng.random() < 0.8:
        if rng.random() < 0.5:
            header = re.sub(r"'descr': '[^']*'", f"'descr': {rng.choice(_DTYPES)!r}", header)
        else:
            header = text_of(rng, header)
    if rng.random() < 0.4:
        rest = rest[: rng.randrange(len(rest) + 1)] if rng.random() < 0.5 else rest + rest[:9]
    encoded = header.encode("utf-8", "replace")
    version = rng.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    size = 2 if version == b"\x01\x00" else 4
    said = len(encoded) if rng.random() < 0.9 else rng.choice((0, 1, 65535))
    return data[:6] + version + (said & 0xFFFF).to_bytes(size, "little") + encoded + rest


def members_of(data: bytes) -> dict[str, bytes]:
    """The files in an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def packed(members: dict[str, bytes]) -> bytes:
    """An archive of files."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return data.getvalue()


def npy_bytes(array: np.ndarray[Any, Any]) -> bytes:
    """A `.npy` file of an array; objects are pickled."""
    data = io.BytesIO()
    np.lib.format.write_array(data, np.asanyarray(array), allow_pickle=True)
    return data.getvalue()


def npz_of(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """An archive with an array changed, left out, renamed, or one more."""
    members = members_of(data)
    name = rng.choice(list(members))
    match rng.randrange(7):
        case 0 | 1 | 2:
            array = np.load(io.BytesIO(members[name]))
            members[name] = npy_bytes(array_of(rng, array))
        case 3:
            members[name] = npy_of(rng, members[name])
        case 4:
            content = members.pop(name)
            if rng.random() < 0.5:
                names = ("weights", "bias", "activation", "data", "row", "format", *TEXTS)
                members[rng.choice(names).replace("\ud800", "?") + ".npy"] = content
        case 5 if other:
            members |= dict([rng.choice(list(members_of(other).items()))])
        case _:
            members[name] = bytes_of(rng, members[name])
    return packed(members)


def message_of(rng: Random, root: Any) -> None:
    """Change a protobuf message: numbers, texts and bytes; fields left out, repeated, swapped."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = _fields(root)
        if not places:
            return
        message, field, value = rng.choice(places)
        name = field.name
        if field.is_repeated:
            at = rng.randrange(len(value))
            match rng.randrange(5):
                case 0:
                    del value[at]
                case 1 if field.message_type:
                    value.add().ParseFromString(value[at].SerializeToString())
                case 1 | 2 if not field.message_type:
                    value.append(value[at])
                case 2:
                    others = [v for _, f, values in places if f is field for v in values]
                    # By its bytes: one may be inside the other.
                    value[at].ParseFromString(rng.choice(others).SerializeToString())
                case _ if not field.message_type:
                    value[at] = _scalar(rng, field, value[at])
                case _:
                    value.add()
        elif field.message_type or rng.random() < 0.15:
            message.ClearField(name)
        else:
            others = [v for _, f, v in places if f is field]
            new = rng.choice(others) if rng.random() < 0.3 else _scalar(rng, field, value)
            try:
                setattr(message, name, new)
            except (ValueError, TypeError):
                message.ClearField(name)


def _fields(root: Any) -> list[tuple[Any, Any, Any]]:
    """Every field that is set, at most a few members of long lists."""
    found: list[tuple[Any, Any, Any]] = []
    left = [root]
    while left:
        message = left.pop()
        for field, value in message.ListFields():
            found.append((message, field, value))
            if field.message_type:
                left += list(value) if field.is_repeated else [value]
    return found


_OPERATORS = (
    *("Add", "MatMul", "Gemm", "Relu", "Reshape", "Transpose", "Concat", "Slice", "Gather"),
    *("Split", "Softmax", "LayerNormalization", "ReduceMean", "QuantizeLinear", "Cast", "Shape"),
    *("DequantizeLinear", "MatMulInteger", "QLinearMatMul", "Unsqueeze", "Squeeze", "Expand"),
    *("Where", "Pow", "Sqrt", "Erf", "Identity", "Constant", "ConstantOfShape", "Clip", "Conv"),
    *("If", "Loop", "LSTM", "Dropout", "Range", "Tile", "Pad", "Flatten", "Einsum", "Nonsense"),
)


def _scalar(rng: Random, field: Any, value: Any) -> Any:
    kinds = field.cpp_type
    if isinstance(value, str):
        if field.name == "op_type":
            return rng.choice(_OPERATORS)
        return rng.choice((value + "x", *TEXTS)).encode("utf-8", "replace").decode()
    if isinstance(value, bytes):
        return bytes_of(rng, value) if value else b"x"
    if isinstance(value, float):
        return (
            rng.choice((-value, *REALS)) if kinds == field.CPPTYPE_DOUBLE else rng.choice(REALS[:6])
        )
    wide = kinds in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64)
    number = rng.choice((value + 1, value - 1, rng.randrange(25), *NUMBERS))
    bits = 63 if wide else 31
    return max(min(number, (1 << bits) - 1), -(1 << bits))
