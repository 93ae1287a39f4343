"""Models at work: loading, capabilities, generation. Knows no command line and no server."""

from . import bench as bench
from .answer import Answer as Answer
from .ceilings import ceilings as ceilings
from .export import Exported as Exported
from .export import ExportError as ExportError
from .export import export as export
from .generation import Generation as Generation
from .generation import GenerationError as GenerationError
from .generation import Piece as Piece
from .generation import Prompt as Prompt
from .generation import Usage as Usage
from .hub import HubError as HubError
from .load import LoadedModel as LoadedModel
from .load import ParameterInfo as ParameterInfo
from .load import load_model as load_model
from .logprobs import Choice as Choice
from .memory import memory as memory
from .sampler import Sampler as Sampler
from .sampling import Sampling as Sampling
from .sampling import SamplingError as SamplingError
from .scheduler import Limits as Limits
from .session import PREFILL_CHUNK as PREFILL_CHUNK
from .session import Session as Session
from .text_model import TextModel as TextModel
from .work import work as work
