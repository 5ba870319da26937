"""What one epoch of a link showed, as a row of the table."""

from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Row:
    """One epoch of one link, or one recording of what a link answers."""

    link: int
    """From 0, the teacher."""
    stage: str
    """labels, hint or kd; record, where the link was asked about every training image."""
    epoch: int
    """Of the link, both stages together, from 1; of a recording, the view, from 0."""
    kd_epoch: int | None
    """Of the link's last stage, from 1; None in stage 1, and for links before the student."""
    accuracy: float | None
    """On the validation images, 0–1; None in stage 1, whose classifier is untrained."""
    seconds: float
    losses: dict[str, float]
    shares: dict[str, float]
    balanced_accuracy: float | None = None
    """The mean over classes."""
    weights: dict[str, float] = field(default_factory=dict)
    """Of terms whose weights are not the same in all epochs."""

    def flat(self) -> dict:
        """As a row of the table: loss.<term>, gradient.<term> and, where they change, weight.<term> columns."""
        plain = asdict(self)
        told = {"loss": plain.pop("losses"), "gradient": plain.pop("shares"), "weight": plain.pop("weights")}
        return plain | {f"{kind}.{name}": value for kind, own in told.items() for name, value in own.items()}
