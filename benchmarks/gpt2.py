"""GPT-2 with random weights, ours and its peers in interleaved rounds: `python -m benchmarks gpt2`.

Prefill of a prompt and greedy decoding behind a short one, with the same weights, tokens and
element type. A peer that is not installed is reported. `--cold` measures starts of processes.
"""

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import machine, peers
from benchmarks.comparison import report
from benchmarks.comparison.rounds import OURS, Cold, Group, Work, compare, starts
from benchmarks.comparison.worker import PeerError, Setting, prepare
from benchmarks.weights import SHAPES
from benchmarks.weights.gptrs import DTYPES, draw
from ptir import config

try:
    from benchmarks.comparison import plot
except ImportError:  # matplotlib is not installed; --plot says so
    plot = None


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.plot and plot is None:
        raise SystemExit("--plot needs matplotlib")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the peers end with us
    found = Found()
    for settings in _settings(options, found.absent):
        if options.cold:
            found.colds.append(starts(settings, options.rounds))
            print("\n".join(report.cold_lines(found.colds[-1])), flush=True)
        else:
            found.groups.append(compare(settings, _works(options), options.rounds))
            shape = SHAPES[options.model]
            print("\n".join(report.lines(shape, found.groups[-1])), flush=True)
        _write(options, found)


@dataclass
class Found:
    """What was measured so far, and who was not there."""

    groups: list[Group] = field(default_factory=list)
    colds: list[Cold] = field(default_factory=list)
    absent: list[dict[str, str]] = field(default_factory=list)


def _write(options: argparse.Namespace, found: Found) -> None:
    """Behind each group, so that a run that is stopped leaves what it had."""
    shape, about = SHAPES[options.model], machine()
    if options.json:
        said = {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()}
        rows = report.as_json(shape, found.groups, found.colds)
        document = {"machine": about, "options": said, "absent": found.absent, **rows}
        options.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    if options.plot and found.groups:
        plot.save(options.plot, shape, found.groups, f"GPT-2 {options.model}, {about['processor']}")


def _settings(options: argparse.Namespace, absent: list[dict[str, str]]) -> Iterator[list[Setting]]:
    """For each element type and number of threads, the peers that can take part; `absent` is told
    of the others.
    """
    folder = options.work / f"gpt2-{options.model}"
    for dtype in options.dtype:
        draw(folder, SHAPES[options.model], dtype)
        ours = [] if options.without_ours else [OURS]
        wanted = [Setting(peer, folder, dtype, 1) for peer in [*ours, *options.peers]]
        able = [setting.peer for setting in wanted if _prepared(setting, absent)]
        for threads in options.threads if able else ():
            yield [Setting(peer, folder, dtype, threads) for peer in able]


def _prepared(setting: Setting, absent: list[dict[str, str]]) -> bool:
    try:
        prepare(setting)
    except PeerError as error:
        absent.append({"dtype": setting.dtype, "peer": setting.peer, "why": str(error)})
        print(f"{setting.dtype}: without {setting.peer}, which {error}", flush=True)
        return False
    return True


def _works(options: argparse.Namespace) -> list[Work]:
    decoding = [Work("decode", batch, options.tokens) for batch in options.batch]
    return [Work("prefill", 1, options.prompt), *decoding]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpt2", description=__doc__)
    add, known = parser.add_argument, [name for name in peers.names() if name != OURS]
    add("--peers", type=_listed(str, known), default=known, help=f"of: {', '.join(known)}")
    add("--dtype", type=_listed(str, DTYPES), default=list(DTYPES), help=", ".join(DTYPES))
    add("--threads", type=_listed(int), default=[1, 2], metavar="N,N")
    add("--batch", type=_listed(int), default=[1], metavar="N,N", help="of the decoding")
    add("--prompt", type=int, default=512, help="tokens of the prefill")
    add("--tokens", type=int, default=64, help="tokens to decode")
    add("--rounds", type=int, default=5)
    add("--model", choices=SHAPES, default="124M")
    add("--without-ours", action="store_true", help="measure the peers alone")
    add("--cold", action="store_true", help="measure process start to first token instead")
    add(
        "--work", type=Path, default=config.cache_folder() / "benchmarks", help="folder for weights"
    )
    add("--json", type=Path, metavar="FILE")
    add("--plot", type=Path, metavar="FILE")
    return parser


def _listed(kind: type, known: Sequence[object] | dict[str, object] | None = None):
    """A parser of comma-separated values, each one of the known."""

    def parse(text: str) -> list[object]:
        values = [kind(item) for item in text.split(",")]
        for value in values:
            if known is not None and value not in known:
                raise argparse.ArgumentTypeError(f"{value!r} is none of {', '.join(known)}")
        return values

    return parse
