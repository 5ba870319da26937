"""The words a space is written in."""

from kdsearch.config import companions, methods, net, part, pipeline
from kdsearch.config.companions import *  # noqa: F403
from kdsearch.config.methods import *  # noqa: F403
from kdsearch.config.net import *  # noqa: F403
from kdsearch.config.part import *  # noqa: F403
from kdsearch.config.pipeline import *  # noqa: F403

__all__: list[str] = []
__all__ += companions.__all__
__all__ += methods.__all__
__all__ += net.__all__
__all__ += part.__all__
__all__ += pipeline.__all__
