# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""MiniLM on this machine's processor, and on a device as it is planned.

By onnxruntime, with weights of float32 and with what it quantises itself, and by our fast model,
which computes the exact integers of the array. Each has one thread.
"""

import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import daqkf
from daqkf.compiler.compiled_network import CompiledNetwork
from daqkf.dialects.errors import from_extra
from daqkf.passes.progress import Progress
from daqkf.planning import plan
from daqkf.studies.minilm.export_onnx import export_minilm
from daqkf.studies.minilm.model import MiniLM, load_evaluation
from daqkf.studies.minilm.network import MASK, inputs_of
from daqkf.support.timing import least_seconds

PLANNED = "planned"
SPARSITY, LEVELS, TARGET = 0.5, "uniform-15", "wide-memory"
"""Of the network for our fast model and for the plan."""
REPEATS = 5
DEVICE, CLOCK, TOKENS = "xck26", 250e6, 128
"""What is planned for, and the tokens in flight there."""
_SENTENCES = 64


@dataclass(frozen=True)
class Speed:
    """How fast a model runs, in tokens a second of CPU time; those of a plan are of time."""

    model: str
    runs: str
    """What runs it."""
    rate: float
    prompt_rate: float | None = None
    """For language models, of tokens that are read."""
    cosine: float | None = None
    """Of what comes out to that of the float model: the mean of all tokens."""

    @property
    def is_planned(self) -> bool:
        """Whether it is of no processor."""
        return self.runs.startswith(PLANNED)

    def facts(self) -> dict[str, Any]:
        """All figures as values for JSON."""
        return asdict(self)


def measure_minilm(progress: Progress, repeats: int = REPEATS) -> list[Speed]:
    """MiniLM on sentences of the evaluation.

    Raises:
        DaqkfError: onnxruntime is not installed.
        ModelNotFoundError: the MiniLM package is not installed.
    """
    from threadpoolctl import threadpool_limits

    model = MiniLM.load()
    batches = inputs_of(model, load_evaluation()[:_SENTENCES])
    tokens = sum(int(batch[MASK].sum()) for batch in batches)
    progress("export to ONNX, and let onnxruntime quantise")
    sessions = _sessions(model)
    progress("compile")
    network = daqkf.compile("minilm", sparsity=SPARSITY, levels=LEVELS, target=TARGET)
    assert isinstance(network, CompiledNetwork)

    def all_of(one: Callable[[Any], NDArray[Any]]) -> Callable[[], list[NDArray[Any]]]:
        return lambda: [one(batch)[batch[MASK] > 0] for batch in batches]

    def ours(batch: Any) -> NDArray[Any]:
        return next(iter(network.run(batch).values()))

    runs = [all_of(lambda batch, s=session: s.run(None, batch)[0]) for session in sessions.values()]
    runs.append(all_of(ours))
    progress("run")
    with threadpool_limits(1):
        seconds = least_seconds(runs, repeats)
        outputs = [np.concatenate(run()) for run in runs]
    names = [*sessions, f"daqkf, the fast model, {SPARSITY:.0%} zeros, {LEVELS}"]
    found = [
        Speed("MiniLM", name, tokens / own, cosine=_cosine(output, outputs[0]))
        for name, own, output in zip(names, seconds, outputs, strict=True)
    ]
    progress(f"plan for {DEVICE}")
    planned = plan(network, DEVICE, tokens=TOKENS, clock=CLOCK)
    name = f"{PLANNED}: {DEVICE} at {CLOCK / 1e6:g} MHz, {TOKENS} tokens in flight"
    return [*found, Speed("MiniLM", name, planned.tokens_per_second, cosine=found[-1].cosine)]


def _sessions(model: MiniLM) -> dict[str, Any]:
    """Sessions of one thread, with float32 and with dynamic quantisation to int8."""
    with from_extra("peers"):
        import onnxruntime
        from onnxruntime.quantization import QuantType, quantize_dynamic  # pyright: ignore

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory(prefix="daqkf-") as folder:
        floats, integers = (os.path.join(folder, name) for name in ("float.onnx", "int8.onnx"))
        Path(floats).write_bytes(export_minilm(model).SerializeToString())
        # It advises another pass before, which is for shapes and fusions.
        logging.disable(logging.WARNING)
        try:
            quantize_dynamic(floats, integers, weight_type=QuantType.QInt8)
        finally:
            logging.disable(logging.NOTSET)
        return {
            f"onnxruntime, {kind}": onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
            for kind, path in (("float32", floats), ("dynamic int8", integers))
        }


def _cosine(one: NDArray[Any], other: NDArray[Any]) -> float:
    norms = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return float(((one * other).sum(axis=-1) / norms).mean())
