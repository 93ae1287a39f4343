"""Models at work: loading, capabilities, generation. Knows no command line and no server."""

from .generate import Generation as Generation
from .generate import GenerationError as GenerationError
from .generate import Piece as Piece
from .generate import TextModel as TextModel
from .load import LoadedModel as LoadedModel
from .load import load_model as load_model
from .sampler import Sampling as Sampling
from .sampler import SamplingError as SamplingError
