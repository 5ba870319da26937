"""Networks of a user's own, by name, with their weights."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kdsearch.errors import Refusal
from kdsearch.nets import own

FILE = """
from beside import WIDTH
from torch import nn


def student(classes, blocks=1):
    return nn.Sequential(nn.Conv2d(3, WIDTH * blocks, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH * blocks, classes))


def broken(classes):
    raise RuntimeError("no such luck")


def number(classes):
    return 7
"""


@pytest.fixture
def mine(tmp_path) -> Path:
    (tmp_path / "my_nets.py").write_text(FILE)
    (tmp_path / "beside.py").write_text("WIDTH = 4\n")
    return tmp_path / "my_nets.py"


def test_a_file_s_function_makes_a_network_with_the_modules_beside_it(mine):
    net = own.made(f"{mine}:student", 5, {"blocks": 2})
    assert isinstance(net, nn.Sequential) and net(torch.zeros(2, 3, 8, 8)).shape == (2, 5)


def test_two_files_of_one_name_are_two_modules(mine, tmp_path):
    other = tmp_path / "other" / "my_nets.py"
    other.parent.mkdir()
    other.write_text("def student(classes): return __import__('torch').nn.Linear(3, classes)\n")
    assert isinstance(own.made(f"{mine}:student", 5, {}), nn.Sequential)
    assert isinstance(own.made(f"{other}:student", 5, {}), nn.Linear)


def test_libraries_networks_go_by_their_names():
    assert own.made("torchvision:shufflenet_v2_x0_5", 7, {})(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert own.made("timm:resnet18", 7, {"channels": (8, 8, 8, 8), "layers": (1, 1, 1, 1)}) is not None
    assert isinstance(own.made("torch.nn:Linear", 3, {"out_features": 2}), nn.Linear)


@pytest.mark.parametrize(
    "factory, said",
    [
        ("{}:studnet", "no function in .*studnet'.*Did you mean 'student'"),
        ("{}:broken", "classes=5, .* raised RuntimeError: no such luck"),
        ("{}:number", "gives a torch.nn.Module, but .* gave a int"),
        ("nowhere.py:x", "there is no 'nowhere.py'"),
        ("torchvision:resnet81", "no classifier of torchvision 'resnet81'.*Did you mean"),
        ("timm:resnet81", "no network of timm 'resnet81'.*Did you mean"),
        ("no.such.module:net", "cannot be imported .* is it installed"),
        ("resnet18", "is named FILE.py:FUNCTION, package.module:FUNCTION, timm:NAME or torchvision:NAME, but got"),
    ],
)
def test_a_name_that_means_no_network_is_refused(mine, factory, said):
    with pytest.raises(Refusal, match=said):
        own.made(factory.format(mine), 5, {})


def test_a_factory_s_hash_is_of_its_file_and_those_beside_it(mine):
    before = own.source(f"{mine}:student")
    (mine.parent / "beside.py").write_text("WIDTH = 8\n")
    assert own.source(f"{mine}:student") != before and own.source("timm:resnet18") == ""
    assert own.made(f"{mine}:student", 5, {})[0].out_channels in (4, 8)


@pytest.mark.parametrize("kind", ["plain", "prefixed", "checkpoint", "safetensors", "twice"])
def test_weights_are_read_however_they_were_saved(mine, tmp_path, kind):
    net, twin = (own.made(f"{mine}:student", 5, {}) for _ in range(2))
    plain = twin.state_dict()
    told = {
        "prefixed": {f"module.{name}": value for name, value in plain.items()},
        "twice": {f"module._orig_mod.{name}": value for name, value in plain.items()},
        "checkpoint": {"epoch": 3, "state_dict": plain},
    }.get(kind, plain)
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pt")
    save_file(plain, path) if kind == "safetensors" else torch.save(told, path)
    said = own.filled(net, path)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True))
    assert len(said) == {"prefixed": 1, "twice": 2}.get(kind, 0)


def test_weights_of_another_network_are_refused_with_counts_and_the_nearest_names(mine, tmp_path):
    net = own.made(f"{mine}:student", 5, {})
    torch.save(
        {"0.wieght": torch.zeros(4, 3, 3, 3), "0.bias": torch.zeros(4), "9.x": torch.zeros(1)}, tmp_path / "w.pt"
    )
    said = r"of the 4 of .* 3 missing \(0.weight, 3.weight, 3.bias\), 2 not expected .*nearest to '0.weight' there: 0.wieght"
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(Refusal, match=said):
        own.filled(net, tmp_path / "w.pt")
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    torch.save(own.made(f"{mine}:student", 6, {}).state_dict(), tmp_path / "w.pt")
    with pytest.raises(Refusal, match=r"2 of another shape \(3.weight, 3.bias\)"):
        own.filled(net, tmp_path / "w.pt")


def test_a_pickle_that_does_more_than_hold_tensors_runs_nothing(mine, tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "pwned",))

    (tmp_path / "w.pt").write_bytes(pickle.dumps({"a": Evil()}))
    with pytest.raises(Refusal, match="weights_only=True, but .* is neither"):
        own.filled(own.made(f"{mine}:student", 5, {}), tmp_path / "w.pt")
    assert not (tmp_path / "pwned").exists()
