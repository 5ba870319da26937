"""Small trained students in searches of their own, to be handed over: made in a blink, without Ray."""

from pathlib import Path
from typing import Any

import torch
from helpers import FACTS, FIT, MADE

from kdsearch.config.net import AnyNet
from kdsearch.config.pipeline import KD, Data, Link, Pipeline
from kdsearch.config.provenance import Made
from kdsearch.data import images as data_images
from kdsearch.data.memory import Images
from kdsearch.data.sight import seen_by
from kdsearch.distill.store import save_net
from kdsearch.distill.train import judge
from kdsearch.nets.build import build
from kdsearch.nets.survey import survey
from kdsearch.results import facts as results_facts
from kdsearch.results import tables as results_tables

STEPS = 60
"""Of training: enough that classes are told apart, and that logits differ by more than what is rounded."""


def trained(net: AnyNet, images: Images, seed: int = 0) -> torch.nn.Module:
    """A network that has learned something of the training images by their labels."""
    torch.manual_seed(seed)
    seen = seen_by(images, net)
    found = build(net, seen.shape, len(images.classes)).train()
    steps = torch.optim.Adam(found.parameters(), 3e-3)
    for step in range(STEPS):
        places = torch.arange(step * 64, step * 64 + 64) % len(seen.train)
        steps.zero_grad()
        loss = torch.nn.functional.cross_entropy(found(seen.prepare(seen.train[places])), images.labels[places])
        loss.backward()
        steps.step()
    return found.eval()


def searched(folder: Path, nets: dict[str, AnyNet], teacher: AnyNet, data: Data, **more: Any) -> results_tables.Tables:
    """A finished search in a folder: a trial a network, by name, whose student is trained; `more`: of search.json."""
    images = data_images.load(data, Path("data"))
    tables = results_tables.Tables(folder)
    for name, net in nets.items():
        pipeline = Pipeline(links=(Link(net=teacher, fit=FIT), Link(net=net, fit=FIT, kd=KD())), data=data)
        found, seen = trained(net, images), seen_by(images, net)
        judged = judge(found, seen, seen.validation, seen.validation_labels)
        sizes = survey(net, images.shape, len(images.classes))
        tables.add(
            name, pipeline.model_dump(mode="json"),
            {"parameters": sizes.parameters, "compression": 2.0, "training_parameters": sizes.parameters,
             "macs": sizes.macs, "metric": "accuracy"}, {"width": 1.0},
        )  # fmt: skip
        row = {"link": 1, "stage": "kd", "epoch": 4, "kd_epoch": 4, "accuracy": judged.accuracy, "seconds": 1.0}
        tables.extend(name, [row | {"balanced_accuracy": judged.balanced}], student=1)
        tables.mark(name, "complete", None, judged.accuracy, judged.balanced)
        look = seen.origin.look
        told = MADE | {
            "fingerprint": images.fingerprint, "classes": images.classes, "image": seen.shape,
            "mean": seen.mean.flatten().tolist(), "std": seen.std.flatten().tolist(), "accuracy": judged.accuracy,
            "balanced_accuracy": judged.balanced, "confusion": judged.counts, "range": look.style and look.style.scale,
        }  # fmt: skip
        save_net(folder / "students" / f"{name}.safetensors", found, Made.model_validate(told).plain())
    tables.write(at_once=True)
    results_facts.write_facts(folder, _facts(images, more))
    return tables


def _facts(images: Images, more: dict[str, Any]) -> dict[str, Any]:
    return FACTS | {
        "data": images.origin.data.name, "fingerprint": images.fingerprint, "images": len(images.train),
        "validation_images": len(images.validation), "classes": len(images.classes), "image": list(images.shape),
        "account": images.account, **more,
    }  # fmt: skip
