"""The networks of the papers, exactly: constants for spaces and for repeated tables.

Seed 1: "Model Compression: Going in Depth on Hint-Based Knowledge Distillation". Seed 2: "Experiments with Knowledge
Distillation for building lightweight Deep Learning Models". Parameters are learned numbers; seed 2, as Keras does,
also counts the running means and variances of batch normalisation (`nets.Survey.statistics`)."""

from kdsearch.config.net import Net, ResNet

HINTING = Net(widths=(128, 356, 356), depth=3, hidden=512)
"""Seed 1's teacher, wide and shallow: 3,201,122 parameters on CIFAR-10. The odd 356 is in its code."""

STUDENTS = {depth: Net(depth=depth) for depth in (3, 6, 9, 12)}
"""Seed 1's students by their convolutions: 75,674 to 172,730 parameters."""


MNIST_TEACHER = Net(widths=(32,), depth=1, hidden=(256, 128, 32), dropout=0.4, block_dropout=0.4, pools=(2,), padding=0)
"""Seed 2, experiment 1: 1,422,378 parameters on MNIST."""

MNIST_STUDENT = Net(widths=(32,), depth=1, hidden=128, dropout=0.0, pools=(2,), padding=0)
"""693,962 parameters."""


RESNET18 = ResNet(kind="resnet")
"""Seed 2's teacher on CIFAR-10: 11,173,962 parameters, 11,183,562 as Keras counts."""

SIX_CONV = Net(
    widths=(32, 64, 128), depth=6, hidden=256, batch_norm="after", hidden_norm=True, dropout=0.4,
    block_dropout=(0.2, 0.3, 0.4), pools=(2, 2, 2),
)  # fmt: skip
"""Its student: 815,530 parameters, 816,938 as Keras counts."""


CHAIN = {
    2: Net(widths=(16, 16), depth=2, hidden=(), batch_norm="after", dropout=0.4, pools=(2, 2)),
    4: Net(widths=(16, 32), depth=4, hidden=(), batch_norm="after", dropout=0.4, pools=(2, 2)),
    6: Net(
        widths=(16, 32, 64), depth=6, hidden=(), batch_norm="after", dropout=0.4, pools=(2, 2, 2),
        block_dropout=(0.0, 0.4, 0.0),
    ),
    8: Net(
        widths=(16, 32, 64, 128), depth=8, hidden=64, batch_norm="after", dropout=0.0, pools=(2, 2, 2, 2),
        block_dropout=0.4,
    ),
    10: Net(
        widths=(16, 32, 64, 128, 128), depth=10, hidden=128, batch_norm="after", dropout=0.4, pools=(2, 2, 2, 1, 2),
        block_dropout=0.4,
    ),
}  # fmt: skip
"""Seed 2, experiment 6: student (2), assistants, teacher (10), by their convolutions: 13,082 to 657,114 parameters."""
