"""One peer in a process of its own: `python -m benchmarks.peers MODE NAME FOLDER DTYPE THREADS`.

`prepare` writes its form of the weights, `serve` answers requests, one JSON object a line, and
`first` says when the first token is there. Only here is a peer timed, so that all are timed alike.
"""

import json
import os
import resource
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO

import numpy as np

from benchmarks import peers
from benchmarks.weights import Array, ensure, place

PROMPT = 16
VOCAB = 500  # prompts use the first of the tokens, which every model has


def main(mode: str, name: str, folder: str, dtype: str, threads: str) -> None:
    replies = _replies()
    peer = _find(name)
    missing = peer if isinstance(peer, str) else peer.available(dtype)
    if missing:
        _reply(replies, {"missing": missing})
    elif mode == "prepare":
        ensure(Path(folder), peer.FORM, dtype)
        _reply(replies, {})
    else:
        model = peer.load(place(Path(folder), peer.FORM, dtype), dtype, int(threads))
        {"first": first, "serve": serve}[mode](model, replies)


def _find(name: str) -> peers.Peer | str:
    """The peer, or why it is not to be had."""
    try:
        return peers.find(name)
    except ImportError as error:
        return f"is not installed: {error}"


def first(model: peers.Model, replies: TextIO) -> None:
    model.prefill(prompts(1, PROMPT), PROMPT + 1).argmax()
    _reply(replies, {"peak_bytes": peak_bytes()})
    os._exit(0)  # the other side's clock has stopped; nothing is worth tidying


def serve(model: peers.Model, replies: TextIO) -> None:
    _reply(replies, {})
    for line in sys.stdin:
        request = json.loads(line)
        _reply(replies, ANSWERS[request.pop("do")](model, **request))


def prefill(model: peers.Model, batch: int, tokens: int) -> dict[str, Any]:
    """Seconds from the prompts to their next tokens."""
    ids = prompts(batch, tokens)
    begun = perf_counter()
    chosen = model.prefill(ids, tokens).argmax(axis=1)
    return {"seconds": perf_counter() - begun, "tokens": chosen.tolist()}


def decode(model: peers.Model, batch: int, tokens: int) -> dict[str, Any]:
    """Seconds for so many tokens of each sequence behind a short prompt, the largest logit each."""
    prompt = prompts(batch, PROMPT)
    ids = _greedy(model.prefill(prompt, PROMPT + tokens))
    chosen = []
    begun = perf_counter()
    for _ in range(tokens):
        ids = _greedy(model.decode(ids))
        chosen.append(ids)
    return {"seconds": perf_counter() - begun, "tokens": np.stack(chosen, 1).tolist()}


def logits(model: peers.Model) -> dict[str, Any]:
    """The logits behind a short prompt and one more token, to see that peers compute the same."""
    model.prefill(prompts(1, PROMPT), PROMPT + 1)
    return {"logits": model.decode(np.array([7], np.int32))[0].tolist()}


ANSWERS = {"prefill": prefill, "decode": decode, "logits": logits}


def prompts(batch: int, tokens: int) -> Array:
    """si32 [batch, tokens], the same in every process."""
    random = np.random.Generator(np.random.Philox(3))
    return random.integers(VOCAB, size=(batch, tokens), dtype=np.int32)


def peak_bytes() -> int:
    """The most memory that was resident in this process, mapped files among it."""
    try:
        status = Path("/proc/self/status").read_text()  # getrusage counts the parent's, too
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _greedy(logits: Array) -> Array:
    return logits.argmax(axis=1).astype(np.int32)


def _replies() -> TextIO:
    """What was standard output; what libraries write there goes to standard error from now on."""
    private = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return private


def _reply(replies: TextIO, answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=replies, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
