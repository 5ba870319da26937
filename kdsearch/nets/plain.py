"""model.py: a network's code in plain PyTorch, for those who have no kdsearch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

from torch import nn

from kdsearch.config.datasets import Shape
from kdsearch.config.net import AnyNet, Own
from kdsearch.nets import factory
from kdsearch.nets.build import SMALLEST, build
from kdsearch.nets.whole import backwards

BLOCK = '''
class Block(nn.Module):
    """A basic block (He et al. 2016)."""

    def __init__(self, inputs, outputs, stride, shortcut):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if shortcut:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        found = torch.relu(self.bn1(self.conv1(x)))
        there = self.downsample(x) if hasattr(self, "downsample") else x
        return torch.relu(self.bn2(self.conv2(found)) + there)

'''

TOLD = '''
class Told:
    """What the search drew, in the place of Optuna's trial."""

    params = ARGUMENTS

    def _told(self, name, *ranges, **more):
        return ARGUMENTS[name]

    suggest_int = suggest_float = suggest_categorical = _told

'''

LOADED = """    import sys
    import types
    import zipfile

    archive = str(Path(__file__).parent / "code" / "{source}.zip")
    sys.path.append(archive)  # for what it imports beside it
    module = sys.modules["students_own_code"] = types.ModuleType("students_own_code")
    with zipfile.ZipFile(archive) as files:
        exec(compile(files.read("{file}"), "{file}", "exec"), vars(module))
"""

REST = '''
class Student(nn.Module):
    """uint8 pixels (N, {image}), 0-255 -> logits (N, {classes}), by the place of CLASSES."""

    def __init__(self):
        super().__init__()
        self.net = network()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, -1, 1, 1), persistent=False)

    def forward(self, pixels):
        {forward}


def student(weights=Path(__file__).parent / "student.safetensors"):
    """The student with its trained weights, in evaluation mode."""
    found = Student()
    weights = OrderedDict(load_file(weights))
    weights._metadata = found.net.state_dict()._metadata  # versions of its parts, which files do not keep
    found.net.load_state_dict(weights)
    return found.eval()


if __name__ == "__main__":
    print(student()(torch.zeros(1, *IMAGE, dtype=torch.uint8)))
'''


@dataclass(frozen=True)
class Code:
    """The text, and what it needs beside torch and safetensors."""

    text: str
    needs: str
    """A sentence; empty: nothing."""


def code(
    title: str, net: AnyNet, image: Shape, classes: Sequence[str], mean: Sequence[float], std: Sequence[float]
) -> Code:
    """Of a trained network: `image` as it sees it, `mean` and `std` of what it reads. Raises Refusal."""
    made, needs = _own(net, len(classes)) if isinstance(net, Own) else (_sections(net, image, len(classes)), "")
    needed = needs or "It needs torch and safetensors alone."
    head = [
        f'"""{title} Its network in plain PyTorch.\n\n{needed}\n\n    from model import student\n'
        f"    logits = student()(pixels)  # uint8 (N, {', '.join(map(str, image))}), 0-255\n" + '"""\n',
        "from collections import OrderedDict\nfrom pathlib import Path\n\nimport torch\n"
        "from safetensors.torch import load_file\nfrom torch import nn\n",
        f"CLASSES = {list(classes)!r}\nIMAGE = {tuple(image)!r}  # channels, height, width\n"
        f"MEAN, STD = {list(mean)!r}, {list(std)!r}  # of each channel, on the scale 0-1\n",
    ]
    rest = REST.format(image=", ".join(map(str, image)), classes=len(classes), forward="\n        ".join(_forward(net)))
    return Code("\n".join(head) + "\n" + made + "\n" + rest, needs)


def _forward(net: AnyNet) -> Iterator[str]:
    if backwards(net):
        yield "pixels = pixels.flip(1)  # it reads blue first"
    answer = "self.net((pixels.float() / 255 - self.mean) / self.std)"
    if isinstance(net, Own) and net.eye.outputs == "probabilities":
        answer += f".clamp(min={SMALLEST}).log()"
    if isinstance(net, Own) and net.columns:
        yield "# Its network knows more classes than these."
        answer += f"[:, {list(net.columns)}]"
    yield f"return {answer}"


def _sections(net: AnyNet, image: Shape, classes: int) -> str:
    built = build(net, image, classes)
    layers = "".join(f"nn.Sequential(\n{indent(_layers(section), '    ')}),\n" for section in built.children())
    block = BLOCK if any(_is_block(module) for module in built.modules()) else ""
    return f"{block}\ndef network():\n    return nn.Sequential(\n{indent(layers, ' ' * 8)}    )\n"


def _layers(section: nn.Module) -> str:
    return "".join(f"{_layer(layer)},\n" for layer in section.children())


def _is_block(module: nn.Module) -> bool:
    return type(module).__name__ == "BasicBlock"


def _layer(layer: nn.Module) -> str:
    """A layer of a built-in network as Python, by what it has of its own: other versions of torch take it, too."""
    if _is_block(layer):
        conv, shortcut = layer.conv1, layer.downsample is not None
        assert isinstance(conv, nn.Conv2d)
        return f"Block({conv.in_channels}, {conv.out_channels}, {conv.stride[0]}, shortcut={shortcut})"
    if isinstance(layer, nn.Conv2d):
        told = f"{layer.in_channels}, {layer.out_channels}, {layer.kernel_size[0]}, padding={layer.padding[0]}"
        return f"nn.Conv2d({told}{'' if layer.bias is not None else ', bias=False'})"
    told = {
        nn.BatchNorm2d: "{num_features}", nn.BatchNorm1d: "{num_features}", nn.ReLU: "", nn.Flatten: "",
        nn.MaxPool2d: "{kernel_size}, {stride}", nn.AvgPool2d: "{kernel_size}, ceil_mode={ceil_mode}",
        nn.AdaptiveAvgPool2d: "{output_size}", nn.Dropout: "{p}", nn.Linear: "{in_features}, {out_features}",
    }[type(layer)]  # fmt: skip
    return f"nn.{type(layer).__name__}({told.format(**vars(layer))})"


def _own(net: Own, classes: int) -> tuple[str, str]:
    """The call of a user's factory, and what it needs."""
    place, _, name = net.factory.rpartition(":")
    outputs, told = len(net.eye.classes or ()) or classes, factory.plain(net.arguments)
    call = factory.found(net.factory, net.source)
    named = "".join(f", {key}={value!r}" for key, value in told.items())
    if place == "timm":
        name = name.removesuffix("@pretrained")
        made = f"    import timm\n\n    return timm.create_model({name!r}, num_classes={outputs}{named})\n"
        return f"def network():\n{made}", f"It needs timm beside torch and safetensors (it was {net.source})."
    if place == "torchvision":
        made = f"    return get_model({name!r}, num_classes={outputs}{named})\n"
        made = f"    from torchvision.models import get_model\n\n{made}"
        return f"def network():\n{made}", f"It needs torchvision beside torch and safetensors (it was {net.source})."
    if place.endswith(".py"):
        file = Path(net.called.rpartition(":")[0]).name
        taken, needs = LOADED.format(source=net.source, file=file), f"what {file} imports (it lies in code/)"
        module = "module"
    else:
        taken, module, needs = f"    import {place}\n\n", place, f"the package of {place} (it was {net.source})"
    needs = f"It needs {needs} beside torch and safetensors."
    if isinstance(call, nn.Module):
        return f"def network():\n{taken}    return {module}.{name}\n", needs
    if factory.draws(call):
        head = f"ARGUMENTS = {told!r}\n\n{TOLD}\n"
        return f"{head}def network():\n{taken}    return {module}.{name}({outputs}, Told())\n", needs
    given = named.removeprefix(", ") if factory.alone(call) else f"{outputs}{named}"
    return f"def network():\n{taken}    return {module}.{name}({given})\n", needs
