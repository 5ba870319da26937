"""The loops of the tutorials, as the reference twin of `kd_step.py`: nothing in them is slowed down.

Images decoded in memory, a DataLoader with two workers, the teacher's forward pass at every step under
no_grad, PyTorch's default memory format and Adam (PyTorch's "Knowledge Distillation Tutorial", Chariton 2023).
"""

from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from kdsearch.nets import build, survey


class Pictures(Dataset):
    """Decoded PIL images, as torchvision's CIFAR10 gives them."""

    def __init__(self, pixels: torch.Tensor, labels: torch.Tensor, transform: Any) -> None:
        rows = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        self.pictures = [Image.fromarray(row.squeeze(2) if row.shape[2] == 1 else row) for row in rows]
        self.labels = labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.pictures[place]), self.labels[place]


def loader(images, batch_size: int) -> DataLoader:
    """Shuffled batches; the images are changed as ours are."""
    mean, std = images.mean.flatten().tolist(), images.std.flatten().tolist()
    changes: list = []
    if "crop" in images.augment:
        changes.append(transforms.RandomCrop(images.shape[1:], padding=min(images.shape[1:]) // 8))
    if "flip" in images.augment:
        changes.append(transforms.RandomHorizontalFlip())
    transform = transforms.Compose([*changes, transforms.ToTensor(), transforms.Normalize(mean, std)])
    pictures = Pictures(images.train[:], images.labels, transform)
    # Forked as in a script of one's own: in a process that was itself spawned, workers would import torch first.
    return DataLoader(pictures, batch_size, shuffle=True, num_workers=2, multiprocessing_context="fork")


def train_labels(device: str, student: nn.Module, batches: DataLoader, optimizer: torch.optim.Optimizer) -> float:
    """An epoch of cross-entropy; returns the mean loss."""
    criterion = nn.CrossEntropyLoss()
    student.train()
    running_loss = 0.0
    for inputs, labels in batches:
        inputs, labels = inputs.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = criterion(student(inputs), labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    return running_loss / len(batches)


def train_kd(
    device: str, teacher: nn.Module, student: nn.Module, batches: DataLoader, optimizer: torch.optim.Optimizer
) -> float:
    """An epoch of 0.75·CE + 0.25·T²·KL, with T = 2."""
    T = 2.0
    ce_loss = nn.CrossEntropyLoss()
    teacher.eval()
    student.train()
    running_loss = 0.0
    for inputs, labels in batches:
        inputs, labels = inputs.to(device), labels.to(device)
        optimizer.zero_grad()
        with torch.no_grad():
            teacher_logits = teacher(inputs)
        student_logits = student(inputs)
        soft_targets = nn.functional.softmax(teacher_logits / T, dim=-1)
        soft_prob = nn.functional.log_softmax(student_logits / T, dim=-1)
        soft_targets_loss = torch.sum(soft_targets * (soft_targets.log() - soft_prob)) / soft_prob.size()[0] * (T**2)
        loss = 0.25 * soft_targets_loss + 0.75 * ce_loss(student_logits, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    return running_loss / len(batches)


class WithMap(nn.Module):
    """A network that returns its logits and the map after one convolution, through a regressor if it has one."""

    def __init__(self, net: Any, layer: int, regressor: nn.Module | None = None) -> None:
        super().__init__()
        self.features, self.rest, self.regressor = net[:layer], net[layer:], regressor

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.features(inputs)
        return self.rest(found), self.regressor(found) if self.regressor else found


def train_hint(
    device: str, teacher: WithMap, student: WithMap, batches: DataLoader, optimizer: torch.optim.Optimizer
) -> float:
    """An epoch of the mean squared error between the student's regressed map and the teacher's."""
    mse_loss = nn.MSELoss()
    teacher.eval()
    student.train()
    running_loss = 0.0
    for inputs, _ in batches:
        inputs = inputs.to(device)
        optimizer.zero_grad()
        with torch.no_grad():
            _, teacher_map = teacher(inputs)
        _, regressed = student(inputs)
        loss = mse_loss(regressed, teacher_map)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    return running_loss / len(batches)


def epochs(device: str, images, batch_size: int, teacher_net, student_net, pairs) -> dict:
    """A function for each kind of epoch: labels, kd, and a hint's for each (hint, guided) pair, by name."""
    torch.manual_seed(0)
    batches, classes = loader(images, batch_size), len(images.classes)

    def made(net):
        return build.build(net, images.shape, classes).to(device)

    def with_adam(student):
        return student, torch.optim.Adam(student.parameters(), lr=1e-3)

    teacher = made(teacher_net)
    plain, soft = with_adam(made(student_net)), with_adam(made(student_net))
    found = {
        "labels": lambda: train_labels(device, plain[0], batches, plain[1]),
        "kd": lambda: train_kd(device, teacher, soft[0], batches, soft[1]),
    }
    hints, guided = (survey.survey(net, images.shape, classes).maps for net in (teacher_net, student_net))
    for name, (hint, guide) in pairs.items():
        regressor = nn.Conv2d(guided[guide - 1][0], hints[hint - 1][0], 3, padding=1).to(device)
        student = with_adam(WithMap(made(student_net), guide, regressor))
        asked = WithMap(teacher, hint)
        found[name] = lambda own=student, asked=asked: train_hint(device, asked, own[0], batches, own[1])
    return found
