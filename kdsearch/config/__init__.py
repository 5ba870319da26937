"""The words a space is written in."""

from kdsearch.config import methods, net, pipeline
from kdsearch.config.methods import *  # noqa: F403
from kdsearch.config.net import *  # noqa: F403
from kdsearch.config.pipeline import *  # noqa: F403

__all__: list[str] = []
__all__ += methods.__all__
__all__ += net.__all__
__all__ += pipeline.__all__
