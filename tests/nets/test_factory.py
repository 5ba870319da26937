"""Networks of a user's own, by name."""

from pathlib import Path

import optuna
import pytest
import timm
import torch
from mine import written
from torch import nn

from kdsearch.config.net import Eye, Own
from kdsearch.errors import Refusal
from kdsearch.nets import build, factory
from kdsearch.storage import code


@pytest.fixture
def mine(tmp_path) -> Path:
    return written(tmp_path)


def test_a_file_s_function_makes_a_network_with_the_modules_beside_it(mine):
    net = factory.made(f"{mine}:student", 5, {})
    assert net(torch.zeros(2, 3, 8, 8)).shape == (2, 5) and net.get_parameter("stem.0.weight").shape[0] == 4
    wider = factory.made(f"{mine}:student", 5, {"width": 6})
    assert wider.get_parameter("stem.0.weight").shape[0] == 6


def test_two_files_of_one_name_are_two_modules(mine, tmp_path):
    other = tmp_path / "other" / "my_nets.py"
    other.parent.mkdir()
    other.write_text("def student(classes): return __import__('torch').nn.Linear(3, classes)\n")
    assert type(factory.made(f"{mine}:student", 5, {})).__name__ == "Small"
    assert isinstance(factory.made(f"{other}:student", 5, {}), nn.Linear)


def test_a_module_that_lies_in_a_file_is_copied_each_time(mine):
    one, other = (factory.made(f"{mine}:constant", 10, {}) for _ in range(2))
    assert isinstance(one, nn.Sequential) and one is not other
    assert torch.equal(one.get_parameter("1.weight"), other.get_parameter("1.weight"))


def test_a_factory_s_draws_are_its_arguments_and_make_the_network_again(mine):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    arguments = factory.drawn(f"{mine}:drawn", 5, study.ask())
    assert set(arguments) == {"width", "channels"}
    net = factory.made(f"{mine}:drawn", 5, arguments)
    assert net.get_parameter("stem.0.weight").shape[:2] == (arguments["width"], arguments["channels"])
    assert factory.drawn(f"{mine}:student", 5, study.ask()) == {}


def test_a_factory_may_not_draw_a_knob_of_the_space_s_name(mine):
    trial = optuna.create_study().ask()
    trial.suggest_int("width", 100, 200)
    with pytest.raises(Refusal, match="one meaning, but 'width' of the student is one of the space's, too; rename it"):
        factory.drawn(f"{mine}:drawn", 5, trial)


def test_a_network_whose_arguments_lack_a_knob_is_not_made(mine):
    with pytest.raises(Refusal, match=r"but 'width' is none of \{'channels': 3\}"):
        factory.made(f"{mine}:drawn", 5, {"channels": 3})


def test_libraries_networks_go_by_their_names():
    assert factory.made("torchvision:shufflenet_v2_x0_5", 7, {})(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert factory.made("timm:resnet18", 7, {"channels": (8, 8, 8, 8), "layers": (1, 1, 1, 1)}) is not None
    assert isinstance(factory.made("torch.nn:Linear", 3, {"out_features": 2}), nn.Linear)


@pytest.mark.parametrize(
    "name, said",
    [
        ("{}:studnet", "no function in .*studnet'.*Did you mean 'student'"),
        ("{}:broken", r"with \(classes=5\) raised RuntimeError: no such luck \(my_nets.py, line \d+\)"),
        ("{}:leaving", r"with \(classes=5\) raised SystemExit: 3 \(my_nets.py, line \d+\)"),
        ("{}:number", "gives a torch.nn.Module, but .* gave a int"),
        ("nowhere.py:x", "there is no file 'nowhere.py'"),
        ("torchvision:resnet81", "no classifier of torchvision 'resnet81'.*Did you mean"),
        ("timm:resnet81", "no network of timm 'resnet81'.*Did you mean"),
        ("no.such.module:net", "cannot be imported .* is it installed"),
        ("resnet18", "is named FILE.py:FUNCTION, package.module:FUNCTION, timm:NAME or torchvision:NAME, but got"),
    ],
)
def test_a_name_that_means_no_network_is_refused(mine, name, said):
    with pytest.raises(Refusal, match=said):
        factory.made(name.format(mine), 5, {})


def test_a_library_s_network_is_known_by_the_library_s_version(mine):
    assert factory.source("timm:resnet18") == f"timm {timm.__version__}"
    assert factory.source("torchvision:resnet18").startswith("torchvision 0.")
    assert factory.source(f"{mine}:student") == code.source(mine)


def test_nothing_is_downloaded_unless_a_name_says_so(monkeypatch):
    told = []
    monkeypatch.setattr(timm, "create_model", lambda *_, **named: told.append(named) or nn.Identity())
    for name in ("timm:resnet18", "timm:resnet18@pretrained"):
        factory.made(name, 7, {})
    assert [one["pretrained"] for one in told] == [False, True]


def test_a_file_that_has_changed_since_makes_nothing(mine):
    before = factory.source(f"{mine}:student")
    (mine.parent / "beside.py").write_text("WIDTH = 8\n")
    with pytest.raises(Refusal, match="or a file beside it that it imports, has changed since"):
        factory.made(f"{mine}:student", 5, {}, before)


def test_probabilities_are_taken_as_their_logarithms(mine):
    net = Own(kind="own", factory=f"{mine}:probable", eye=Eye(outputs="probabilities"))
    torch.manual_seed(0)
    module, images = build.built(net, 10).eval(), torch.randn(4, 3, 16, 16)
    inside = module.get_submodule("0")(images)
    assert torch.allclose(module(images), inside.log_softmax(1), atol=1e-5)
    sure = Own(kind="own", factory="torch.nn:Identity", eye=Eye(outputs="probabilities"))
    assert torch.isfinite(build.built(sure, 2)(torch.tensor([[0.0, 1.0]]))).all()


def test_columns_are_the_outputs_of_the_data_s_classes(mine):
    names = ("e", "a", "d", "b")
    net = Own(kind="own", factory=f"{mine}:student", eye=Eye(classes=names), columns=(1, 3))
    module, images = build.built(net, 2).eval(), torch.randn(3, 3, 8, 8)
    whole = factory.raw(net, 2).eval()
    whole.load_state_dict(module.state_dict())
    assert whole(images).shape == (3, 4) and torch.equal(module(images), whole(images)[:, [1, 3]])
