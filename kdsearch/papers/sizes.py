"""How large a table's networks are: deployed, with regressors, as the paper counts."""

from typing import Any

from kdsearch.config.datasets import Shape
from kdsearch.errors import cause_of
from kdsearch.nets import pairs
from kdsearch.nets.survey import survey, training_parameters
from kdsearch.papers.tables import Protocol


def sizes(protocol: Protocol, row: str, image: Shape, classes: int) -> dict[str, Any]:
    """Of a row's network; raises Refusal where it cannot be."""
    pipeline = protocol.rows[row]
    pairs.check(pipeline, image, classes)
    found = survey(pipeline.student.net, image, classes)
    training = training_parameters(pipeline.student, pipeline.hinting, image, classes)
    return {
        "parameters": found.parameters,
        "training_parameters": training,
        "counted": found.parameters + found.statistics if protocol.keras else training,
        "compression": survey(protocol.teacher.net, image, classes).parameters / found.parameters,
    }


def sizes_or_cause(protocol: Protocol, image: Shape, classes: int) -> dict[str, dict[str, Any]]:
    """Of each row's network; the `cause` where it cannot be."""
    found: dict[str, dict[str, Any]] = {}
    for row in protocol.rows:
        try:
            found[row] = sizes(protocol, row, image, classes)
        except Exception as error:  # whatever it is, the other rows go on
            found[row] = {"cause": cause_of(error)}
    return found
