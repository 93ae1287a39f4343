"""Models at work: loading, capabilities, generation. Knows no command line and no server."""

from .generation import Generation as Generation
from .generation import GenerationError as GenerationError
from .generation import Piece as Piece
from .generation import Prompt as Prompt
from .load import LoadedModel as LoadedModel
from .load import ParameterInfo as ParameterInfo
from .load import load_model as load_model
from .sampler import Sampling as Sampling
from .sampler import SamplingError as SamplingError
from .session import Session as Session
from .text_model import TextModel as TextModel
