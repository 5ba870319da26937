"""The card of a student, as a person reads it."""

import pytest

from kdsearch.results.card import card, said

FACTS = {
    "search": "s", "space": "depth", "trial": "3", "seed": 7, "parameters": 1234, "macs": 5678, "compression": 12.5,
    "classes": ["cat", "dog"], "network": "plain", "teacher": "resnet", "teacher_accuracy": 0.9, "account": None,
    "data": "photos", "fingerprint": "f", "bytes": {"model.onnx": 2000}, "machine": "m", "versions": {"torch": "2"},
    "trained": {"torch": "2", "machine": "m"}, "speeds": [], "unmeasured": "the teacher: its code is gone",
    "input": {"image": [1, 8, 8], "mean": [0.5], "std": [0.25], "range": None, "order": "rgb", "brought": "turned"},
    "recipe": {"links": 2, "epochs": 9, "hint_epochs": 3, "pairs": "1→2", "lambda": "0.25", "tau": 4.0,
               "augment": "none", "terms": ["at"], "virtual": None},
    "chosen": {"sampler": "tpe", "trials": 20, "complete": 5, "front": True, "reference": None, "confirmed": None,
               "metric": "accuracy", "against": "bytes"},
    "accuracies": [
        {"format": "search", "part": "validation", "precision": "bfloat16", "right": 9, "of": 10, "accuracy": 0.9,
         "low": 0.6, "high": 0.98},
        {"format": "model.int8.onnx", "part": "test", "precision": "int8", "right": 8, "of": 10, "accuracy": 0.8,
         "low": 0.5, "high": 0.94, "same": 9, "difference": 0.123},
    ],
    "class_accuracy": {"cat": 1.0, "dog": 0.8}, "confusion": {"cat": {"cat": 5}, "dog": {"dog": 4, "cat": 1}},
}  # fmt: skip


def speed(name: str, alone: float, many: float) -> dict[str, object]:
    return {"format": name, "runtime": "r", "microseconds": alone, "ratio": 2.0, "many": many, "many_ratio": 3.0}


@pytest.mark.parametrize(
    "line",
    [
        "| in the search | bfloat16 | validation, 10 images | 90.00 % | 60.0–98.0 % | – | – |",
        "| ONNX, int8 | int8 | test, 10 images | 80.00 % | 50.0–94.0 % | 9/10 | 1.2e-01 |",
        "| dog | 5 | 80.0 % | cat (1) |",
        "- parameters: 1,234 (its teacher has 12.5× as many)",
        "- model.onnx: 2.0 kB",
        "Without the teacher: its code is gone",
        "one of 20 draws, on the front of accuracy and bytes; seed 7.",
        "Not confirmed with other seeds",
        "- of this network: (yours to fill in)",
        "λ 0.25 on labels, the rest on the teacher's answers at τ 4; further terms: at; images",
        "(pixel / 255 − mean) / std with mean 0.5 and std 0.25.",
    ],
)
def test_a_card_tells_what_is_known(line):
    assert line in card(FACTS)


def test_a_card_tells_of_new_seeds_of_a_cell_and_of_pictures_of_16_bits():
    chosen = FACTS["chosen"] | {"confirmed": {"seeds": 5, "mean": 0.875, "half": 0.01}, "sampler": "grid"}
    seeds = {"trial": "3", "others": ["1", "2"], "mean": 0.88, "half": 0.02, "seeds": 3}
    page = card(FACTS | {"chosen": chosen, "seeds": seeds, "input": FACTS["input"] | {"range": [0, 4095]}})
    assert "by a grid" in page and "Confirmed with 5 new seeds: accuracy 87.5 ± 1.0 %" in page
    assert "Of the 3 seeds of its cell (88.0 ± 2.0 %), trial 3 is the nearest to the mean; the others: 1, 2." in page
    assert "0 became 0, and 4095 became 255" in page


def test_int8_that_is_slower_than_float_is_said_and_noise_is_not():
    both = [speed("model.onnx", 20, 10), speed("model.int8.onnx", 30, 5)]
    (told,) = said(FACTS | {"speeds": both})
    assert told.startswith("int8 is slower than float32 for an image alone: 30 µs against 20 µs") and told in card(
        FACTS | {"speeds": both}
    )
    assert said({"speeds": [speed("model.onnx", 20, 10), speed("model.int8.onnx", 20.2, 10)]}) == []


def test_a_class_s_name_cannot_break_the_table():
    odd = {"class_accuracy": {"a|b": 1.0}, "confusion": {"a|b": {"a|b": 2}}}
    assert "| a\\|b | 2 | 100.0 % |" in card(FACTS | odd)
