"""Portable kernels: each validates its operands, then composes ops. Knows no layer and no model."""

from .define import FUNCTIONALS as FUNCTIONALS
from .define import functional as functional
