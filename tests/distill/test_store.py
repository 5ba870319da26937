"""Networks by the hash of what made them."""

import pytest
import torch
from helpers import FIT, STUDENT, pipeline

from kdsearch.config.pipeline import Data
from kdsearch.distill.store import Store, key_of, load_net, read_facts, save_net
from kdsearch.distill.weights import digest, digest_of
from kdsearch.errors import Refusal
from kdsearch.nets import build


def test_a_key_changes_with_everything_up_to_its_link_and_with_nothing_behind_it():
    base = pipeline()
    keys = {key_of(base, 0, "f"), key_of(base, 1, "f"), key_of(base, 0, "g")}
    teacher = base.links[0].model_copy(update={"seed": 1})
    keys.add(key_of(base.model_copy(update={"links": (teacher, base.links[1])}), 0, "f"))
    keys.add(key_of(base.model_copy(update={"data": Data(validation=0.3)}), 0, "f"))
    assert len(keys) == 5
    assert key_of(pipeline(seed=7), 0, "f") == key_of(base, 0, "f")


def test_views_are_part_of_a_taught_network_s_key_and_not_of_the_first_one_s():
    keys = [
        [key_of(pipeline().model_copy(update={"data": Data(views=views)}), number, "f") for views in (4, 8)]
        for number in (0, 1)
    ]
    assert keys[0][0] == keys[0][1] and keys[1][0] != keys[1][1]


def test_a_key_does_not_depend_on_where_the_data_lie():
    moved = pipeline().model_copy(update={"data": Data(name="/elsewhere")})
    assert key_of(moved, 1, "f") == key_of(pipeline(), 1, "f")


def test_a_network_comes_back_as_it_was_saved(tmp_path):
    net, other = (build.build(STUDENT, (1, 8, 8), 10) for _ in range(2))
    save_net(tmp_path / "net.safetensors", net, {"accuracy": 0.5})
    assert digest(net) != digest(other)
    assert (
        load_net(tmp_path / "net.safetensors", other) == {"accuracy": 0.5} == read_facts(tmp_path / "net.safetensors")
    )
    assert digest(net) == digest(other)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


@pytest.mark.parametrize("kept", [0, 4, 200, -10])
def test_a_file_cut_short_is_refused_with_the_way_out(tmp_path, kept):
    path = tmp_path / "net.safetensors"
    save_net(path, build.build(STUDENT, (1, 8, 8), 10), {})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(Refusal, match=r"damaged .*Delete it"):
        load_net(path, build.build(STUDENT, (1, 8, 8), 10))
    with pytest.raises(Refusal, match="damaged"):
        read_facts(path)


def test_a_file_of_another_network_is_refused(tmp_path):
    save_net(tmp_path / "net.safetensors", build.build(STUDENT, (1, 8, 8), 10), {})
    with pytest.raises(Refusal, match="damaged"):
        load_net(tmp_path / "net.safetensors", build.build(STUDENT, (3, 8, 8), 10))


def test_a_store_holds_what_was_saved_under_its_key(tmp_path):
    store = Store(tmp_path / "store")
    assert "k" not in store
    with store.lock("k"):
        save_net(store.path("k"), build.build(STUDENT, (1, 8, 8), 10), {"fit": FIT.model_dump()})
    assert "k" in store and "other" not in store


def test_weights_of_1_by_1_kernels_have_the_hash_of_their_values_in_any_memory_order():
    weights = torch.randn(6, 4, 1, 1)
    last = weights.to(memory_format=torch.channels_last)
    assert digest_of({"w": last}) == digest_of({"w": weights}) != digest_of({"w": -weights})


def test_a_single_number_counts_in_the_hash():
    assert digest_of({"step": torch.tensor(3.0)}) != digest_of({"step": torch.tensor(4.0)})
