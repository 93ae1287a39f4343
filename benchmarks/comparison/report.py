"""Groups of measurements as lines of text and as JSON."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.weights import Shape

from .rounds import OURS, Cold, Group, Work

BYTES = {"f32": 4, "bf16": 2}
ALONE = 0.1  # cores that others may take
SAME = {"f32": 2e-3, "bf16": 0.1}  # how far logits may differ, as a part of the largest


def limit(shape: Shape, group: Group, work: Work) -> float | None:
    """Tokens a second if nothing took time but the reading of weights or the multiplications."""
    found = {name: median(values) for name, values in group.ceilings.items()}
    operations = max(v for name, v in found.items() if name != "read") if len(found) > 1 else None
    if work.do == "prefill":
        each = 2 * shape.multiplications(work.tokens) / work.tokens
        return operations and operations / each
    reading = work.batch * found["read"] / (shape.weights_read * BYTES[group.dtype])
    return min(reading, operations / (2 * shape.weights_read)) if operations else reading


def lines(shape: Shape, group: Group) -> list[str]:
    told = ", ".join(f"{name} {_giga(values)}" for name, values in group.ceilings.items())
    taken = max(group.others, default=0)
    busy = f"; NOT ALONE: others took up to {taken:.1f} cores" if taken > ALONE else ""
    found = [f"{group.dtype}, threads: {group.threads} ({told}{busy})"]
    for work, rates in group.rates.items():
        top = limit(shape, group, work)
        found.append(f"  {work.name}, tokens/s" + (f"; limit {top:.0f}" if top else ""))
        best = sorted(rates, key=lambda peer: -median(rates[peer]))
        found += [f"    {_line(group, work, peer, top)}" for peer in best]
    found += [f"  {peer}: {why}" for peer, why in group.missing.items()]
    far = {p: d for p, d in group.differs.items() if not d <= SAME[group.dtype]}
    found += [
        f"  {peer}: DIFFERS from ours by {d:.1e} of the largest logit" for peer, d in far.items()
    ]
    return found


def _line(group: Group, work: Work, peer: str, top: float | None) -> str:
    rates = group.rates[work][peer]
    share = f"  {median(rates) / top:4.0%} of the limit" if top else ""
    text = f"{peer:14}{_spread(rates)}{share}"
    ratios = group.ratios(work, peer)
    if peer == OURS or not ratios:
        return text
    return f"{text}  ours ×{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def cold_lines(cold: Cold) -> list[str]:
    found = [f"{cold.dtype}, threads: {cold.threads}: process start to first token, peak memory"]
    for peer in sorted(cold.seconds, key=lambda peer: median(cold.seconds[peer])):
        peak = max(cold.peak_bytes[peer]) / 2**20
        found.append(f"    {peer:14}{_spread(cold.seconds[peer])} s  {peak:6.0f} MiB")
    return found


def as_json(shape: Shape, groups: Sequence[Group], colds: Sequence[Cold]) -> dict[str, Any]:
    rows = [_row(shape, group, work, peer) for group, work, peer in _each(groups)]
    return {
        "rows": rows,
        "ceilings": [_facts(g, ceilings=g.ceilings, others=g.others) for g in groups],
        "missing": [_facts(g, peer=p, why=why) for g in groups for p, why in g.missing.items()],
        "differs": [_facts(g, peer=p, by=by) for g in groups for p, by in g.differs.items()],
        "cold": [
            _facts(c, peer=p, seconds=c.seconds[p], peak_bytes=max(c.peak_bytes[p]))
            for c in colds
            for p in c.seconds
        ],
    }


def _each(groups: Sequence[Group]) -> list[tuple[Group, Work, str]]:
    return [(g, work, peer) for g in groups for work, rates in g.rates.items() for peer in rates]


def _row(shape: Shape, group: Group, work: Work, peer: str) -> dict[str, Any]:
    rates, top = group.rates[work][peer], limit(shape, group, work)
    ratios = group.ratios(work, peer)
    return _facts(
        group,
        peer=peer,
        work=work._asdict(),
        tokens_per_s=rates,
        median=median(rates),
        limit=top,
        ours_over_it=median(ratios) if ratios else None,
    )


def _facts(of: Group | Cold, **facts: Any) -> dict[str, Any]:
    return {"dtype": of.dtype, "threads": of.threads, **facts}


def _spread(values: Sequence[float]) -> str:
    return f"{short(median(values)):>7} ({short(min(values))} to {short(max(values))})"


def short(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _giga(values: Sequence[float]) -> str:
    return f"{median(values) / 1e9:.3g}G/s"
