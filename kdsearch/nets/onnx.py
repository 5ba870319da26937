"""Networks as ONNX, and in int8; what the extra `deploy` brings is imported when it is first needed."""

import contextlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdsearch.config.datasets import Shape
from kdsearch.errors import Refusal, cause_of
from kdsearch.nets.whole import LOGITS, PIXELS, Whole

CALIBRATION = 256
"""Images by which the ranges of int8 are found."""

MULTIPLY = ("Conv", "Gemm", "MatMul")
"""Operators with weights."""

EXTRA = "pip install 'kdsearch[deploy]'"
"""What brings onnx, onnxscript and onnxruntime."""


def check() -> None:
    """Raises Refusal where the extra is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise Refusal(f"ONNX needs onnx, onnxscript and onnxruntime, but {error.name} is missing: {EXTRA}") from None


def exported(whole: Whole, image: Shape, words: Mapping[str, str] | None = None) -> bytes:
    """A network as an ONNX model: uint8 `pixels` (batch, C, H, W) -> float32 `logits` (batch, classes), with words in
    its metadata. Raises Refusal where torch cannot export it."""
    check()
    from torch.export import Dim

    pixels = torch.zeros(2, *image, dtype=torch.uint8)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                whole.eval(), (pixels,), dynamo=True, verbose=False, input_names=[PIXELS], output_names=[LOGITS],
                dynamic_shapes={PIXELS: {0: Dim("batch")}},
            )  # fmt: skip
    except Exception as error:  # whatever a user's own code raises when it is traced
        first = error
        while isinstance(first.__cause__, Exception):  # exporters wrap what was raised in words of their own
            first = first.__cause__
        raise Refusal(f"The network cannot be exported to ONNX ({cause_of(first)[:300]}).") from error
    assert program is not None
    proto = program.model_proto
    for name, told in (words or {}).items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = name, told
    return proto.SerializeToString()


def words(classes: Sequence[str], image: Shape) -> dict[str, str]:
    """Of a model's metadata."""
    channels, height, width = image
    what = f"uint8 (batch, {channels}, {height}, {width}), 0-255{', red first' if channels == 3 else ''}"
    return {"classes": json.dumps(list(classes), ensure_ascii=False), PIXELS: what, LOGITS: "by the place in classes"}


class Session:
    """A model that onnxruntime runs on one thread."""

    def __init__(self, model: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own kinds, for what it has no kernel of
            raise Refusal(f"onnxruntime does not run the network ({cause_of(error)[:300]}).") from error

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 (N, C, H, W) -> float32 (N, classes)."""
        return np.asarray(self._session.run([LOGITS], {PIXELS: pixels})[0])

    def all(self, pixels: Tensor, at_once: int = 256) -> Tensor:
        """The same for many, on the CPU."""
        return torch.from_numpy(np.concatenate([self(some.numpy()) for some in pixels.contiguous().split(at_once)]))


class _Calibration:
    """Images one after another, as onnxruntime asks for them."""

    def __init__(self, pixels: Tensor) -> None:
        self._rest = iter(pixels.contiguous().split(1))

    def get_next(self) -> dict[str, Any] | None:
        found = next(self._rest, None)
        return None if found is None else {PIXELS: found.numpy()}


def quantised(model: bytes, pixels: Tensor) -> bytes:
    """The same model in int8 (static, QDQ): unsigned activations, whose signed form is slower than float on x86; signed
    weights with a scale a channel, of 7 bits, since processors without VNNI add up products of 8 in 16 bits, which
    overflow; ranges are those of `pixels`, uint8 (N, C, H, W), of the training images."""
    try:
        return _quantised(model, pixels)
    except Exception as error:  # whatever it makes of operators that it does not know
        raise Refusal(f"The network cannot be brought to int8 ({cause_of(error)[:300]}).") from error


def _quantised(model: bytes, pixels: Tensor) -> bytes:
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as there, _quiet():
        plain, ready, small = (Path(there) / name for name in ("plain.onnx", "ready.onnx", "small.onnx"))
        plain.write_bytes(model)
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        nodes = onnx.load(ready).graph.node
        first = next((place for place, node in enumerate(nodes) if node.op_type in MULTIPLY), 0)
        quantize_static(
            ready, small, _Calibration(pixels), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,  # pyright: ignore[reportArgumentType]
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            nodes_to_exclude=[node.name for node in nodes[:first]],  # the normalisation: it costs nothing in float
        )  # fmt: skip
        return small.read_bytes()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters print and warn of their own inner workings."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
