"""The lazy tensor and how to make one. Knows no functional, no layer and no model."""

from .arithmetic import matmul as matmul
from .core import Operand as Operand
from .core import Tensor as Tensor
from .core import binary as binary
from .core import capturing as capturing
from .core import common_backend as common_backend
from .core import is_eager as is_eager
from .core import lift as lift
from .core import owned as owned
from .core import realize as realize
from .core import tensor_of as tensor_of
from .create import arange as arange
from .create import as_tensor as as_tensor
from .create import concat as concat
from .create import full as full
from .create import ones as ones
from .create import stack as stack
from .create import where as where
from .create import zeros as zeros
from .promote import common_dtype as common_dtype
from .promote import common_shape as common_shape
