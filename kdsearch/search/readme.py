"""README.md of an export: how to use what lies there."""

from collections.abc import Container, Mapping
from typing import Any

LINES = """import kdsearch

student = kdsearch.load("{place}")
print(student.predict("picture.png")[:3])          # [(class, probability), ...], the likeliest first
logits = student(student.preprocess("picture.png")[None])   # a torch.nn.Module
"""

PLAIN = """from model import student

logits = student()(pixels)   # uint8 (N, {image}), 0-255
"""

ONNX = """import numpy, onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
(logits,) = session.run(["logits"], {{"pixels": pixels}})   # numpy.uint8 (N, {image}), 0-255
"""

FILES = {
    "config.yaml": "the whole pipeline: `kdsearch train config.yaml` trains it again",
    "student.safetensors": "its weights, float32",
    "metrics.json": "what the search knows of it",
    "model.py": "its network in plain PyTorch",
    "CARD.md": "what it is, how good, how large, how fast; card.json holds the same for programs",
    "model.onnx": "float32, normalisation inside; `pixels` -> `logits`, class names in the metadata",
    "model.int8.onnx": "the same in int8",
    "code/": "the user's own code, as it was",
}


def readme(card: Mapping[str, Any], place: str, there: Container[str], needs: str) -> str:
    """`place`: of the export; `there`: its files; `needs`: of model.py beside torch and safetensors, a sentence."""
    image = ", ".join(map(str, card["input"]["image"]))
    parts = [
        f"# {card['search']}, trial {card['trial']}\n\n"
        f"A student that kdsearch trained; CARD.md tells what it is worth.\n",
        f"## With kdsearch\n\n```python\n{LINES.format(place=place)}```\n\n"
        f"In a shell: `kdsearch predict {place} picture.png`\n",
        f"## Without kdsearch\n\n{needs or 'model.py needs torch and safetensors alone.'}\n\n"
        f"```python\n{PLAIN.format(image=image)}```\n",
    ]
    if "model.onnx" in there:
        parts.append(f"## ONNX\n\n```python\n{ONNX.format(image=image)}```\n")
    rows = "".join(f"| `{name}` | {what} |\n" for name, what in FILES.items() if name in there)
    parts.append(f"## Files\n\n| | |\n|---|---|\n{rows}")
    return "\n".join(parts)
