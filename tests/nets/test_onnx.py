"""Networks as ONNX, and in int8."""

import json
import sys

import numpy as np
import onnx as onnx_library
import pytest
import torch

from kdsearch.config.net import Net, ResNet
from kdsearch.errors import Refusal
from kdsearch.nets import onnx
from kdsearch.nets.whole import Whole, untaught

IMAGE = (3, 16, 16)


@pytest.fixture(scope="module")
def whole() -> Whole:
    found, _ = untaught(ResNet(kind="resnet", widths=(8, 16), blocks=1), IMAGE, 4)
    found.net.train()
    with torch.no_grad():
        found(torch.randint(0, 256, (64, *IMAGE), dtype=torch.uint8))  # its statistics are of something
    return found.eval()


@pytest.fixture(scope="module")
def model(whole) -> bytes:
    return onnx.exported(whole, IMAGE, onnx.words(["α", "b", "c", "d"], IMAGE))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_batch_of_any_size_gives_the_logits_of_pytorch(whole, model, count):
    pixels = torch.randint(0, 256, (count, *IMAGE), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(onnx.Session(model).all(pixels), whole(pixels), atol=1e-4, rtol=1e-4)


def test_its_names_its_bytes_and_its_classes_are_in_the_file(model):
    proto = onnx_library.load_model_from_string(model)
    (given,), (gives,) = proto.graph.input, proto.graph.output
    assert (given.name, gives.name) == ("pixels", "logits")
    assert given.type.tensor_type.elem_type == onnx_library.TensorProto.UINT8
    assert given.type.tensor_type.shape.dim[0].dim_param and given.type.tensor_type.shape.dim[1].dim_value == 3
    told = {one.key: one.value for one in proto.metadata_props}
    assert json.loads(told["classes"]) == ["α", "b", "c", "d"] and "0-255" in told["pixels"]


def test_int8_has_unsigned_activations_and_signed_weights_with_a_scale_a_channel(whole, model):
    pixels = torch.randint(0, 256, (40, *IMAGE), dtype=torch.uint8)
    small = onnx.quantised(model, pixels)
    proto = onnx_library.load_model_from_string(small)
    kinds = {one.name: one for one in proto.graph.initializer}
    scales = [node.input for node in proto.graph.node if node.op_type == "DequantizeLinear"]
    weights = [kinds[names[0]] for names in scales if names[0] in kinds and "weight" in names[0]]
    weights = [one for one in weights if len(one.dims) == 4]
    assert weights and all(one.data_type == onnx_library.TensorProto.INT8 for one in weights)
    (channels,) = {tuple(kinds[names[1]].dims) for names in scales if names[0] == weights[0].name}
    assert channels == (weights[0].dims[0],)
    points = {kinds[node.input[2]].data_type for node in proto.graph.node if node.op_type == "QuantizeLinear"}
    assert points == {onnx_library.TensorProto.UINT8}
    with torch.no_grad():
        plain, coarse = whole(pixels), onnx.Session(small).all(pixels)
    assert 0 < (plain - coarse).abs().max() < 0.2 * plain.abs().max()


def test_the_caller_s_random_numbers_stay():
    torch.manual_seed(3)
    before = torch.rand(2)
    torch.manual_seed(3)
    untaught(Net(depth=3, widths=(2, 2, 2)), (1, 8, 8), 3)
    assert torch.equal(torch.rand(2), before)


def test_without_the_extra_the_pip_line_is_told(monkeypatch, whole):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(Refusal, match=r"but onnxscript is missing: pip install 'kdsearch\[deploy\]'"):
        onnx.exported(whole, IMAGE)


def test_what_cannot_be_traced_is_refused_with_its_cause():
    class Odd(torch.nn.Module):
        def forward(self, images):
            raise ValueError("only on Sundays")

    with pytest.raises(Refusal, match=r"cannot be exported to ONNX .ValueError: only on Sundays"):
        onnx.exported(Whole(Odd(), [0.5], [0.5]), (1, 8, 8))


def test_bytes_are_what_goes_in(model):
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        onnx.Session(model)(np.zeros((1, *IMAGE), np.float32))
