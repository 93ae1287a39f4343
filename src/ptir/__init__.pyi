"""What `import ptir` offers: the one listing, for type checkers and for `__init__.py`."""

from . import backends as backends
from . import config as config
from . import functional as functional
from . import ir as ir
from . import ops as ops
from . import passes as passes
from . import profile as profile
from . import runtime as runtime
from .compiled import Compiled as Compiled
from .compiled import compile as compile
from .config import ConfigError as ConfigError
from .engine import dump as dump
from .explain import explain as explain
from .functional import override as override
from .ir import Dim as Dim
from .ir import Program as Program
from .ir import PtirError as PtirError
from .ir import SpecError as SpecError
from .kernels import kernel as kernel
from .models import Image as Image
from .models import Tokens as Tokens
from .runtime import Generation as Generation
from .runtime import LoadedModel as LoadedModel
from .runtime import Piece as Piece
from .runtime import Sampling as Sampling
from .runtime import load_model as load_model
from .tensor import Tensor as Tensor
from .tensor import arange as arange
from .tensor import as_tensor as as_tensor
from .tensor import concat as concat
from .tensor import full as full
from .tensor import ones as ones
from .tensor import realize as realize
from .tensor import stack as stack
from .tensor import where as where
from .tensor import zeros as zeros
from .trace import trace as trace

__version__: str
