"""Files of weights: all of a network's, or none."""

from pathlib import Path

import pytest
import torch
from mine import made, own, saved, weights, written
from safetensors.torch import save_file
from torch import nn

from kdsearch.errors import Refusal
from kdsearch.nets import factory, filled


@pytest.fixture
def mine(tmp_path) -> Path:
    return written(tmp_path)


def same(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize(
    "kind, said",
    [
        ("plain", []),
        ("safetensors", []),
        ("checkpoint", []),
        ("module.", ["module."]),
        ("_orig_mod.", ["_orig_mod."]),
        ("model.", ["model."]),
        ("module._orig_mod.", ["module.", "_orig_mod."]),
    ],
)
def test_weights_are_read_however_they_were_saved_and_what_was_left_out_is_said(mine, tmp_path, kind, said):
    net, twin = made(mine, "student"), made(mine, "student")
    plain = twin.state_dict()
    told = {"epoch": 3, "state_dict": plain} if kind == "checkpoint" else plain
    if kind.endswith("."):
        told = {kind + name: value for name, value in plain.items()}
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pt")
    save_file(plain, path) if kind == "safetensors" else torch.save(told, path)
    assert not same(net, twin)
    found = filled.filled(net, path)
    assert same(net, twin)
    assert found == [f"the names of its weights began with '{one}', which was left out" for one in said]


def test_a_prefix_that_is_the_network_s_own_stays(tmp_path):
    net, twin = (nn.Sequential() for _ in range(2))
    for one in (net, twin):
        one.add_module("model", nn.Linear(2, 2))
    torch.save(twin.state_dict(), tmp_path / "w.pt")
    assert filled.filled(net, tmp_path / "w.pt") == [] and same(net, twin)


def test_weights_of_another_network_are_refused_with_counts_and_the_nearest_names(mine, tmp_path):
    net = made(mine, "flat", 5)
    torch.save({"1.wieght": torch.zeros(8, 768), "1.bias": torch.zeros(8), "9.x": torch.zeros(1)}, tmp_path / "w.pt")
    said = (
        r"of the 4 of .* 3 missing \(1.weight, 3.weight, 3.bias\), 2 not expected \(1.wieght, 9.x\)\. The nearest to "
        r"'1.weight' there: 1.wieght"
    )
    twin = made(mine, "flat", 5)
    twin.load_state_dict(net.state_dict())
    with pytest.raises(Refusal, match=said):
        filled.filled(net, tmp_path / "w.pt")
    assert same(net, twin)


def test_weights_of_other_shapes_are_refused(mine, tmp_path):
    torch.save(made(mine, "student", 6).state_dict(), tmp_path / "w.pt")
    with pytest.raises(Refusal, match=r"2 of another shape \(head.weight, head.bias\)"):
        filled.filled(made(mine, "student", 5), tmp_path / "w.pt")


@pytest.mark.parametrize("told", [[1, 2], {"epoch": 3}, {"weights": {"a": torch.zeros(1)}}])
def test_a_file_that_holds_no_weights_by_their_names_is_refused(mine, tmp_path, told):
    torch.save(told, tmp_path / "w.pt")
    with pytest.raises(Refusal, match=r"tensors by their names, but .* holds something else"):
        filled.filled(made(mine, "student"), tmp_path / "w.pt")


def test_a_pickle_that_does_more_than_hold_tensors_runs_nothing(mine, tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "pwned",))

    torch.save({"a": Evil()}, tmp_path / "w.pt")
    with pytest.raises(Refusal, match=r"holds more than tensors, such as a whole module.*; save net.state_dict\(\)"):
        filled.filled(made(mine, "student"), tmp_path / "w.pt")
    assert not (tmp_path / "pwned").exists()


def test_weights_of_other_classes_make_a_new_head_and_fill_the_rest(mine, tmp_path):
    path = tmp_path / "w.pt"
    twin = made(mine, "student", 6)
    torch.save(twin.state_dict(), path)
    net = made(mine, "student", 5)
    drawn = net.get_parameter("head.weight").detach().clone()
    assert filled.new_head(net, path) == "head"
    filled.filled(net, path, "head")
    assert torch.equal(net.get_parameter("head.weight"), drawn)
    assert same(net.get_submodule("down"), twin.get_submodule("down"))


def test_weights_that_differ_inside_make_no_new_head(mine, tmp_path):
    torch.save(made(mine, "student", 5, width=6).state_dict(), tmp_path / "w.pt")
    with pytest.raises(Refusal, match="of another shape"):
        filled.new_head(made(mine, "student", 5), tmp_path / "w.pt")
    torch.save(made(mine, "student", 6).state_dict() | {"head.weight": torch.zeros(6, 99)}, tmp_path / "w.pt")
    with pytest.raises(Refusal, match="of another shape"):  # nor a head that reads something else
        filled.new_head(made(mine, "student", 5), tmp_path / "w.pt")
    torch.save(made(mine, "student", 5).state_dict(), tmp_path / "w.pt")
    assert filled.new_head(made(mine, "student", 5), tmp_path / "w.pt") == ""


def test_weights_that_have_changed_since_are_refused_with_both_hashes(mine, tmp_path):
    path = tmp_path / "w.safetensors"
    told = own(mine, "student", weights=weights(mine, "student", path), weights_hash=filled.weights_hash(path))
    filled.given(made(mine, "student"), told)
    weights(mine, "student", path, seed=1)
    with pytest.raises(
        Refusal, match=f"have changed since .*{told.weights_hash} then, {filled.weights_hash(path)} now"
    ):
        filled.given(made(mine, "student"), told)


def test_a_file_of_weights_that_is_not_there_is_named(mine, tmp_path):
    with pytest.raises(Refusal, match=r"read from a file, but '.*none\.pt' is none"):
        filled.weights_hash(tmp_path / "none.pt")
    with pytest.raises(Refusal, match=r"Weights are in a file, but '.*none\.pt' is none"):
        filled.filled(made(mine, "student"), tmp_path / "none.pt")
    with pytest.raises(Refusal, match=r"Weights are in a file, but '.*' is a folder"):
        filled.filled(made(mine, "student"), tmp_path)


@pytest.mark.parametrize("content", [b"", b"from torch import nn", b"\x80\x04damaged", bytes(100)])
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_what_holds_no_weights_is_said_to_hold_none_and_nothing_of_torch_s_advice(mine, tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refusal) as said:
        filled.filled(made(mine, "student"), tmp_path / name)
    assert "weights_only" not in str(said.value) and "\x1b" not in str(said.value)
    assert "is neither, or damaged" in str(said.value) or "more than tensors" in str(said.value)


def test_a_network_whose_parts_ask_for_their_version_is_filled(tmp_path):
    net, twin = (factory.made("torchvision:mnasnet0_5", 5, {}) for _ in range(2))
    filled.filled(net, Path(saved(twin, tmp_path / "w.safetensors")))
    assert same(net, twin)
