"""Layers: parameters by stable name, and functionals on them. Knows no model and no checkpoint."""

from .attention import CausalSelfAttention as CausalSelfAttention
from .attention import KVCache as KVCache
from .layers import Embedding as Embedding
from .layers import FeedForward as FeedForward
from .layers import GatedFeedForward as GatedFeedForward
from .layers import LayerNorm as LayerNorm
from .layers import Linear as Linear
from .layers import RMSNorm as RMSNorm
from .module import BoundParam as BoundParam
from .module import Module as Module
from .module import ParamRole as ParamRole
from .module import bind_namespace as bind_namespace
from .module import parameter as parameter
from .module import replace_parameter as replace_parameter
