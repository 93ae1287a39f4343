"""Models on the Hugging Face hub: by `org/name` or `org/name@revision` to a folder in its cache.

The `huggingface_hub` library is imported when a model is fetched; what it reads of the environment
(`HF_HUB_OFFLINE`, `HF_HOME`, tokens, proxies) holds.
"""

import re
from pathlib import Path
from typing import NamedTuple

from ptir.checkpoint.error import printable
from ptir.ir import PtirError

FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja")
_REPOSITORY = re.compile(r"(\w[\w.-]{0,95}/\w[\w.-]{0,95})(?:@(\w[\w./-]{0,254}))?", re.ASCII)
_FILE = re.compile(r"\.(gptrs|safetensors|json)$")


class HubError(PtirError):
    """A model that could not be fetched from the hub and is not in its cache."""


class Repository(NamedTuple):
    """One model on the hub; without a revision, the newest."""

    name: str
    revision: str | None

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


def repository(text: str) -> Repository | None:
    """The repository that `text` names; None for what is a path."""
    found = _REPOSITORY.fullmatch(text)
    return None if found is None or _FILE.search(text) else Repository(*found.groups())


def fetch(wanted: Repository) -> Path:
    """The folder with the files of a model; they are downloaded unless they are in the cache.

    Raises `HubError`, which says the way out.
    """
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - takes long to import
    except ImportError:
        message = "no such file or folder; to fetch a model of that name, pip install"
        raise HubError(f"{wanted}: {message} huggingface_hub") from None
    try:
        name, revision = wanted
        folder = snapshot_download(name, revision=revision, allow_patterns=list(FILES))
    except Exception as error:  # its own, or whatever its HTTP client of today raises
        raise HubError(f"{wanted}: {_why(wanted, error)}") from error
    return Path(folder)


def links_within(folder: Path) -> Path | None:
    """Where links in a folder of the cache may lead, whose `blobs` lie beside `snapshots`; None
    for any other folder.
    """
    return folder.parent.parent if folder.parent.name == "snapshots" else None


def _why(wanted: Repository, error: Exception) -> str:
    from huggingface_hub import constants, errors  # noqa: PLC0415 - as in `fetch`

    page = f"{constants.ENDPOINT}/{wanted.name}"
    match error:
        case errors.GatedRepoError():
            return f"access is granted on request: ask on {page}, then run `hf auth login`"
        case errors.RevisionNotFoundError():
            return f"the hub has no such revision; {page}/tree/main lists them"
        case errors.RepositoryNotFoundError():
            what = "no such file or folder, and the hub has no such model or does not show it"
            return f"{what}; look at {page}, or run `hf auth login` if it is private"
        case errors.OfflineModeIsEnabled() | errors.LocalEntryNotFoundError():
            if constants.HF_HUB_OFFLINE:
                return (
                    "no such file or folder, not in the hub's cache either, and HF_HUB_OFFLINE "
                    "forbids to fetch it; unset it, or pass the path of a folder"
                )
            return (
                f"no such file or folder, not in the hub's cache either, and {constants.ENDPOINT} "
                "cannot be reached; connect, or pass the path of a folder"
            )
    first = printable(str(error).partition("\n")[0], 300)
    return f"cannot be fetched from the hub: {first or type(error).__name__}; try again later"
