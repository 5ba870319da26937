from kdsearch.config import KD as KD
from kdsearch.config import Budget as Budget
from kdsearch.config import Data as Data
from kdsearch.config import Eye as Eye
from kdsearch.config import Fit as Fit
from kdsearch.config import Hints as Hints
from kdsearch.config import Link as Link
from kdsearch.config import Net as Net
from kdsearch.config import Own as Own
from kdsearch.config import Pair as Pair
from kdsearch.config import Pipeline as Pipeline
from kdsearch.config import ResNet as ResNet
from kdsearch.errors import Refusal as Refusal
from kdsearch.search.checked import teacher as teacher
from kdsearch.search.compared import replay as replay
from kdsearch.search.deployed import Deployed as Deployed
from kdsearch.search.deployed import load as load
from kdsearch.search.opened import Search as Search
from kdsearch.search.opened import open as open
from kdsearch.search.opened import spaces as spaces
from kdsearch.search.replicate import train as train
from kdsearch.search.tune import tune as tune

__version__: str
HOMES: dict[str, tuple[str, ...]]
