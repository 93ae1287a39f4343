"""Portable kernels: each validates its operands, then composes ops. Knows no layer and no model."""

from .activation import gelu as gelu
from .activation import log_softmax as log_softmax
from .activation import relu as relu
from .activation import silu as silu
from .activation import softmax as softmax
from .activation import swiglu as swiglu
from .attention import attention as attention
from .attention import update_cache as update_cache
from .define import FUNCTIONALS as FUNCTIONALS
from .define import functional as functional
from .dropout import dropout as dropout
from .linear import embedding as embedding
from .linear import linear as linear
from .linear import matmul as matmul
from .norm import layer_norm as layer_norm
from .norm import rms_norm as rms_norm
from .rotary import RopeScaling as RopeScaling
from .rotary import rotary as rotary
from .rotary import rotary_tables as rotary_tables
