"""Parameters: who they are (names, ids, keys) and where their values come from."""

from .identity import (
    BaseParamId,
    ModelNamespaceId,
    ParamKey,
    ParamVersion,
    base_param_id,
    check_name,
    new_namespace,
    new_version,
    param_key,
)
from .resolver import ParamResolver
from .source import DictSource, ParamSource, ParamSpec

__all__ = [
    "BaseParamId",
    "DictSource",
    "ModelNamespaceId",
    "ParamKey",
    "ParamResolver",
    "ParamSource",
    "ParamSpec",
    "ParamVersion",
    "base_param_id",
    "check_name",
    "new_namespace",
    "new_version",
    "param_key",
]
