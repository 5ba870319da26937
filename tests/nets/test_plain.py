"""The code of a network for those who have no kdsearch."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mine import written
from safetensors.torch import save_file

from kdsearch.config.net import AnyNet, Eye, Net, Own, ResNet
from kdsearch.errors import Refusal
from kdsearch.nets.build import build
from kdsearch.nets.factory import source
from kdsearch.nets.plain import Code, code
from kdsearch.nets.whole import Whole, backwards
from kdsearch.storage import code as storage_code
from kdsearch.storage.code import packed


def made(net: AnyNet, image: tuple[int, int, int], classes: int = 3) -> tuple[Code, Whole]:
    """A network's code, and itself, whose statistics are not those it was drawn with."""
    torch.manual_seed(0)
    found = build(net, image, classes).train()
    with torch.no_grad():
        found(torch.randn(8, *image))
    mean, std = [0.3, 0.4, 0.5][: image[0]], [0.2, 0.25, 0.3][: image[0]]
    told = code("A test.", net, image, [str(place) for place in range(classes)], mean, std)
    return told, Whole(found.eval(), mean, std, backwards(net)).eval()


def logits_agree(folder: Path, told: Code, whole: Whole, image: tuple[int, int, int]) -> None:
    save_file({name: one.contiguous() for name, one in whole.net.state_dict().items()}, folder / "student.safetensors")
    names = {"__name__": "model", "__file__": str(folder / "model.py")}
    exec(compile(told.text, "model.py", "exec"), names)
    pixels = torch.randint(0, 256, (5, *image), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(names["student"]()(pixels), whole(pixels), atol=1e-5, rtol=1e-5)  # pyright: ignore


plain = st.builds(
    Net, depth=st.just(3), widths=st.just((3, 4, 5)), hidden=st.sampled_from([7, (), (6, 5)]),
    batch_norm=st.sampled_from([True, False, "after"]), hidden_norm=st.booleans(), padding=st.just(1),
    dropout=st.sampled_from([0.0, 0.25]), pools=st.sampled_from([None, (2, 1, 2)]),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(net=plain, side=st.sampled_from([8, 13, 40]))
def test_a_plain_network_s_code_gives_its_logits(tmp_path_factory, net, side):
    image = (1, side, side)
    told, whole = made(net, image)
    assert "kdsearch" not in told.text.replace("kdsearch has", "") and told.needs == ""
    logits_agree(tmp_path_factory.mktemp("plain"), told, whole, image)


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_residual_network_s_code_gives_its_logits_without_torchvision(tmp_path, blocks):
    net = ResNet(kind="resnet", widths=(8, 16), blocks=blocks)
    told, whole = made(net, (3, 16, 16))
    assert "torchvision" not in told.text
    logits_agree(tmp_path, told, whole, (3, 16, 16))


def own(factory: str, **more: object) -> Own:
    return Own.model_validate({"kind": "own", "factory": factory, "source": source(factory), **more})


@pytest.mark.parametrize(
    "name, arguments",
    [("timm:resnet18", {"channels": (8, 8, 8, 8), "layers": (1, 1, 1, 1)}), ("torchvision:shufflenet_v2_x0_5", {})],
)
def test_a_library_s_network_is_called_by_its_name(tmp_path, name, arguments):
    told, whole = made(own(name, arguments=arguments), (3, 32, 32))
    assert told.needs.startswith(f"It needs {name.partition(':')[0]} beside torch")
    logits_agree(tmp_path, told, whole, (3, 32, 32))


@pytest.mark.parametrize(
    "file, name, arguments",
    [
        ("my_nets.py", "student", {"width": 5}), ("my_nets.py", "drawn", {"width": 4, "channels": 3}),
        ("model.py", "student", {}), ("my-nets.py", "student", {}),
    ],
)  # fmt: skip
def test_a_user_s_file_of_any_name_is_taken_from_the_export(tmp_path, file, name, arguments):
    path = written(tmp_path / "there").rename(tmp_path / "there" / file)
    net = own(f"{path}:{name}", arguments=arguments)
    told, whole = made(net, (3, 16, 16))
    assert told.needs == f"It needs what {file} imports (it lies in code/) beside torch and safetensors."
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / f"{net.source}.zip").write_bytes(packed(path))
    path.unlink()  # elsewhere there is none
    logits_agree(tmp_path, told, whole, (3, 16, 16))


def test_what_an_eye_says_is_in_the_code(tmp_path):
    path = written(tmp_path / "there")
    eye = Eye(order="bgr", outputs="probabilities", classes=("a", "b", "0", "1", "2"))
    net = own(f"{path}:probable", eye=eye, columns=(2, 3, 4))
    told, whole = made(net, (3, 16, 16))
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / f"{net.source}.zip").write_bytes(packed(path))
    logits_agree(tmp_path, told, whole, (3, 16, 16))


def test_the_code_of_what_is_gone_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(storage_code, "SHELVES", [])  # where other tests leave the same file
    path = written(tmp_path)
    net = own(f"{path}:student")
    path.unlink()
    with pytest.raises(Refusal, match="there is no file"):
        code("A test.", net, (3, 16, 16), ["0", "1"], [0.5] * 3, [0.5] * 3)
