"""Tensors on disk, by name: read without trust, written whole or not at all."""

from .error import CheckpointError
from .gptrschk import Checkpoint, save

__all__ = ["Checkpoint", "CheckpointError", "save"]
