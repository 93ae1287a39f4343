"""What a model's folder says of how to generate: `generation_config.json`, as Hugging Face has it.

Knows nothing of what the values mean: whoever takes them checks them.
"""

from pathlib import Path
from typing import Any

from ptir.text.document import read_optional

FILE = "generation_config.json"
# Their name of each setting, by ours.
NAMES = {
    **{name: name for name in ("temperature", "top_k", "top_p", "min_p", "typical_p")},
    "repetition_penalty": "repetition_penalty",
    "max_tokens": "max_new_tokens",
    "min_tokens": "min_new_tokens",
}


def stated_settings(model: str) -> tuple[Path, dict[str, Any]]:
    """The file beside a model (or in its folder), and the settings of generation that it states.

    `"do_sample": false` is temperature 0; a null states nothing. Raises TokenizerError for a file
    that is no JSON object.
    """
    path = Path(model)
    file = (path if path.is_dir() else path.parent) / FILE
    said = read_optional(file)
    found = {ours: said[theirs] for ours, theirs in NAMES.items() if said.get(theirs) is not None}
    return file, found | ({"temperature": 0.0} if said.get("do_sample") is False else {})
