"""Tensors on disk, by name: read without trust, written whole or not at all."""

from . import gptrsten, safetensors
from .error import CheckpointError
from .gptrschk import save
from .source import Checkpoint

__all__ = ["Checkpoint", "CheckpointError", "gptrsten", "safetensors", "save"]
