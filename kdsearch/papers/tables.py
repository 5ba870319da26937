"""The papers' tables as published: each row as a full-size pipeline, quirks and all. Imports neither torch nor ray.

"Cell" in a comment is one of the notebook that the table was printed from; seeds are told apart in papers.py."""

from dataclasses import dataclass

from kdsearch.config.net import Net
from kdsearch.config.papers import CHAIN, HINTING, MNIST_STUDENT, MNIST_TEACHER, RESNET18, SIX_CONV, STUDENTS
from kdsearch.config.pipeline import KD, Data, Fit, Hints, Link, Pair, Pipeline
from kdsearch.errors import unknown

TEACHER = "teacher"
"""The row of the network that teaches the others; trained once, whatever the seeds."""


@dataclass(frozen=True)
class Protocol:
    """How a table was made."""

    title: str
    rows: dict[str, Pipeline]
    """By the names of analysis/published/; each taught by its own chain."""
    keras: bool = False
    """The paper counts the running statistics of batch normalisation as parameters."""
    remarks: tuple[str, ...] = ()
    """What is not repeated as it was."""

    @property
    def data(self) -> Data:
        return next(iter(self.rows.values())).data

    @property
    def teacher(self) -> Link:
        """What compression is counted from."""
        if TEACHER in self.rows:
            return self.rows[TEACHER].student
        return max(self.rows.values(), key=lambda row: len(row.links)).links[0]


# Seed 1. All six notebooks: Adam at 1e-3, batches of 128, no augmentation, judged on the test set at the last epoch.
SIMPLE = Fit(epochs=15, batch_size=128, learning_rate=1e-3)

HINTED = SIMPLE.model_copy(update={"epochs": 20})  # 10 + 10 epochs, five more than those it is compared with

SOFT = KD(weight=0.25, temperature=2)  # 0.75·CE + 0.25·τ²·KL, written into the CIFAR-100 notebooks whatever their alpha

IMAGENET = Data(
    name="cifar10", validation="test", augment="none",
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),  # CIFAR10 notebooks, data cell: ImageNet's statistics
)  # fmt: skip

CIFAR100 = Data(
    name="cifar100", validation="test", augment="none",
    mean=(0.4914, 0.4822, 0.4465), std=(0.2009,) * 3,  # CIFAR100 notebooks, data cell: CIFAR-10's mean, one deviation
)  # fmt: skip

DROPOUT = ("the copied teacher was never put in evaluation mode: its dropout was active in stage 2; here it is not",)

UNEQUAL = "at full size, rows with hints train 20 epochs (10 + 10), the others 15, as printed"


def _hinted(data: Data, depth: int, blocks: tuple[int, ...], weight: float, labels: float) -> Pipeline:
    """A student whose block ends learn from the teacher's blocks; stage 1 trains all but the frozen classifier."""
    each = depth // 3
    pairs = tuple(Pair(hint=block, guided=block * each, weight=weight) for block in blocks)
    # All notebooks, stage-1 cell: all convolutions train, and labels too, through the classifier as it was drawn.
    hints = Hints(pairs=pairs, scope="all_conv", ce_weight=labels)
    student = Link(net=STUDENTS[depth], fit=HINTED, hints=hints, kd=SOFT)
    return Pipeline(links=(Link(net=HINTING, fit=SIMPLE), student), data=data)


def _seed_1(data: Data, hinted: tuple[Pipeline, ...], others: bool = True) -> dict[str, Pipeline]:
    teacher, net = Link(net=HINTING, fit=SIMPLE), STUDENTS[9]
    rows = {TEACHER: Pipeline(links=(teacher,), data=data)}
    if others:
        rows["labels"] = Pipeline(links=(Link(net=net, fit=SIMPLE),), data=data)
        rows["KD"] = Pipeline(links=(teacher, Link(net=net, fit=SIMPLE, kd=SOFT)), data=data)
    return rows | {row.student.pairs: row for row in hinted}


def _location(data: Data, weight: float, labels: float) -> dict[str, Pipeline]:
    return _seed_1(data, tuple(_hinted(data, 9, (block,), weight, labels) for block in (1, 2, 3)))


def _depth(data: Data) -> dict[str, Pipeline]:
    # StudentDepth notebooks, stage-1 cell: 0.25·MSE + 0.75·CE.
    return _seed_1(data, tuple(_hinted(data, depth, (1,), 0.25, 0.75) for depth in STUDENTS), others=False)


def _several(data: Data, weight: float) -> dict[str, Pipeline]:
    return _seed_1(data, tuple(_hinted(data, 9, blocks, weight, 0.75) for blocks in ((1, 2), (2, 3), (1, 3))))


# Seed 2. All notebooks: inputs divided by 255 and no more; Keras's Adam at 1e-3; the test set judges.
PLAIN: dict = {"validation": "test", "augment": "none", "mean": (0.0,), "std": (1.0,)}

MNIST, CIFAR10 = Data(name="mnist", **PLAIN), Data(name="cifar10", **PLAIN)

TEN = Fit(epochs=10, batch_size=32, learning_rate=1e-3)  # MNIST_KD.ipynb, all networks

RESIDUAL = Fit(
    epochs=90, batch_size=64, optimizer="sgd", learning_rate=0.1, momentum=0.9, schedule="step",
    # CIFAR-10.ipynb cell 10: entering epochs 30, 60 and 90, the last one; a half less, so that no rounding is met.
    drops=(28.5 / 90, 58.5 / 90, 88.5 / 90),
    weight_decay=2e-4,  # models/ResNet18.py: Keras's l2(1e-4), whose gradient is twice its factor
)  # fmt: skip

LABELS = Link(net=SIX_CONV, fit=Fit(epochs=50, batch_size=64, learning_rate=1e-3))  # CIFAR-10.ipynb cell 22

KD_FIT = Fit(epochs=50, batch_size=32, learning_rate=1e-3)  # cell 30: half the batch, so twice the updates of LABELS

DROPPED = KD_FIT.model_copy(update={"schedule": "step", "drops": (28.5 / 50,)})  # Teacher_Free.ipynb cell 7

WIDE = Link(net=RESNET18, fit=RESIDUAL)

AUGMENTED = (
    "ResNet-18 was trained with shifts of 4 pixels and flips; here without, since a pipeline has one augmentation and "
    "its students had none: expect a weaker teacher",
    "ResNet-18's L2 penalty was on its stem and residual convolutions; here the same weight decay is on all weights",
)

BATCHES = "row labels: batches of 64, where the others have 32, as printed"

SCHEDULED = "row labels has no learning-rate drop at epoch 30, which the others have, as printed"


def _grid(before: tuple[Link, ...], fit: Fit, alphas: str, temperatures: str) -> dict[str, Pipeline]:
    """A row for each α and T; α is the weight of distillation."""
    return {
        f"α={alpha} T={soft}": Pipeline(links=(*before, _distilled(fit, float(alpha), int(soft))), data=CIFAR10)
        for alpha in alphas.split() for soft in temperatures.split()
    }  # fmt: skip


def _distilled(fit: Fit, alpha: float, soft: float, net: Net = SIX_CONV) -> Link:
    return Link(net=net, fit=fit, kd=KD(weight=alpha, temperature=soft))


ALL = ("0.2 0.4 0.6 0.8 1.0", "2 4 6 8 10")

ALONE = Pipeline(links=(LABELS,), data=CIFAR10)


def _fractions() -> dict[str, Pipeline]:
    """Row by row of the figure: labels alone, then distillation; the whole set, from other cells, at the end."""
    # CIFAR-10.ipynb cell 37: the first N images of the file, 50 epochs of them whatever their number.
    part = {"subset": "first", "steps": "fraction"}
    words = ("0.05", "0.1", "0.15", "0.25", "0.5", "0.75")
    fits = {word: KD_FIT.model_copy(update={"fraction": float(word), **part}) for word in words}
    labels = {word: Pipeline(links=(Link(net=SIX_CONV, fit=fit),), data=CIFAR10) for word, fit in fits.items()}
    labels["1"] = ALONE  # cell 22, whose batch is another
    soft = {word: (WIDE, _distilled(fit, 0.6, 8)) for word, fit in {**fits, "1": KD_FIT}.items()}  # 1: cell 30
    taught = {word: Pipeline(links=links, data=CIFAR10) for word, links in soft.items()}
    return {f"labels {word}": row for word, row in labels.items()} | {f"KD {word}": row for word, row in taught.items()}


def _assistants() -> dict[str, Pipeline]:
    """TA-KD.ipynb: every row with settings of its own; batches of 64; epochs are the limits of its early stopping."""
    adam = Fit(batch_size=64, learning_rate=1e-3)
    sgd = Fit(batch_size=64, optimizer="sgd", learning_rate=0.01, momentum=0.9)

    def lasting(fit: Fit, epochs: int, **more: float) -> Fit:
        return fit.model_copy(update={"epochs": epochs, **more})

    ten = Link(net=CHAIN[10], fit=lasting(sgd, 150))  # cells 34 and 35
    eight = _distilled(lasting(sgd, 50), 0.2, 8, CHAIN[8])  # cell 64; 50 in its comment
    six = _distilled(lasting(adam, 50), 0.1, 2, CHAIN[6])  # cell 68
    four = _distilled(lasting(adam, 50), 0.8, 2, CHAIN[4])  # cell 71
    chained = tuple(_distilled(lasting(adam, 100), 0.2, 4, CHAIN[size]) for size in (6, 4))  # cells 87 and 88
    chains = {
        TEACHER: (ten,),
        "labels": (Link(net=CHAIN[2], fit=lasting(adam, 150)),),  # cells 12 and 13
        "KD": (ten, _distilled(lasting(adam, 30), 0.6, 8, CHAIN[2])),  # cell 55
        "4": (ten, four, _distilled(lasting(sgd, 100, momentum=0.0), 0.4, 2, CHAIN[2])),  # cell 81: no momentum
        "6": (ten, six, _distilled(lasting(adam, 100), 0.2, 4, CHAIN[2])),  # cell 83
        "8": (ten, eight, _distilled(lasting(adam, 100), 0.2, 4, CHAIN[2])),  # cell 85
        # Cell 90: 40 epochs, then five more.
        "8→6→4": (ten, eight, *chained, _distilled(lasting(adam, 45), 0.2, 10, CHAIN[2])),
    } | {f"labels {size}": (Link(net=CHAIN[size], fit=lasting(sgd, 100)),) for size in (4, 6, 8)}  # cells 17 to 29
    return {name: Pipeline(links=links, data=CIFAR10) for name, links in chains.items()}


ITSELF = (LABELS, _distilled(DROPPED, 0.6, 2))  # Teacher_Free.ipynb cell 16


TABLES = {
    # HintLayerLocationTestingCIFAR_10 cell 25: the hint term is computed, and commented out of the sum.
    "seed1-table1": Protocol("where the hint sits, CIFAR-10", _location(IMAGENET, 0, 1), remarks=(UNEQUAL,)),
    # HintLayerLocationTestingCIFAR_100 cell 12: 0.25·MSE + 0.75·CE.
    "seed1-table2": Protocol(
        "where the hint sits, CIFAR-100", _location(CIFAR100, 0.25, 0.75), remarks=(UNEQUAL, *DROPOUT)
    ),
    "seed1-table3": Protocol("depth of the student, CIFAR-10", _depth(IMAGENET)),
    "seed1-table4": Protocol("depth of the student, CIFAR-100", _depth(CIFAR100), remarks=DROPOUT),
    # MultipleHintsCIFAR_10 cell 27: 0.125·MSE + 0.125·MSE + 0.75·CE, the single hint's 0.25 shared.
    "seed1-table5": Protocol("several hints, CIFAR-10", _several(IMAGENET, 0.125), remarks=(UNEQUAL,)),
    # MultipleHintsCIFAR_100 cell 12: the MSE is of the regressor's output and itself, so 0; 0.75·CE is left.
    "seed1-table6": Protocol("several hints, CIFAR-100", _several(CIFAR100, 0), remarks=(UNEQUAL, *DROPOUT)),
    "seed2-table1": Protocol(
        "distillation on MNIST",
        {
            TEACHER: Pipeline(links=(Link(net=MNIST_TEACHER, fit=TEN),), data=MNIST),
            "labels": Pipeline(links=(Link(net=MNIST_STUDENT, fit=TEN),), data=MNIST),
            "KD": Pipeline(
                links=(Link(net=MNIST_TEACHER, fit=TEN), _distilled(TEN, 0.2, 10, MNIST_STUDENT)), data=MNIST
            ),
        },
        keras=True,
        remarks=("the paper's students have 20 seeds each: --seeds 20",),
    ),
    "seed2-table3": Protocol(
        "teacher assistants: 10 convolutions teach 2 through 4, 6, 8", _assistants(), keras=True,
        remarks=(
            "early stopping on the test set is not repeated: each row trains for its limit of epochs",
            "Keras's activity penalty on the logits of networks trained from labels is not repeated",
            "optimisers, α, T and epochs differ from row to row, as printed: rows are not to be compared",
        ),
    ),
    "seed2-alpha-temperature": Protocol(
        "weight and temperature of distillation, ResNet-18 to 6 convolutions",
        {TEACHER: Pipeline(links=(WIDE,), data=CIFAR10), "labels": ALONE, **_grid((WIDE,), KD_FIT, *ALL)},
        keras=True, remarks=(*AUGMENTED, BATCHES),
    ),
    "seed2-data-fraction": Protocol(
        "shares of the training images, with and without distillation", _fractions(), keras=True,
        remarks=(*AUGMENTED, "row labels 1: batches of 64, where the others have 32, as printed"),
    ),
    "seed2-teacher-free": Protocol(
        "the student as its own teacher", {"labels": ALONE, **_grid((LABELS,), DROPPED, *ALL)}, keras=True,
        remarks=(BATCHES, SCHEDULED),
    ),
    "seed2-distilled-teacher": Protocol(
        "a student distilled from itself as the teacher",
        {
            TEACHER: Pipeline(links=ITSELF, data=CIFAR10), "labels": ALONE,
            **_grid(ITSELF, DROPPED, "0.2 0.4 0.6", "2 4"),
        },
        keras=True, remarks=(BATCHES, SCHEDULED),
    ),
}  # fmt: skip


def find(table: str) -> Protocol:
    """A table by its name; raises Refusal for an unknown one."""
    if table not in TABLES:
        raise unknown("table", table, TABLES)
    return TABLES[table]
