"""A picture of the groups: for each work and element type, the peers' rates and the limit."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.weights import Shape

from .report import limit, short
from .rounds import OURS, Group, Work

OUR_COLOUR = "#c8102e"  # ours stands out
OTHER_COLOURS = ("#1f3f66", "#4f81b0", "#5f9e8f", "#8a8f98", "#b5bcc6", "#d2d7dd")


def save(path: Path, shape: Shape, groups: Sequence[Group], title: str) -> None:
    dtypes = list(dict.fromkeys(group.dtype for group in groups))
    works, colours = list(groups[0].rates), _colours(groups)
    figure = Figure(figsize=(4.6 * len(works), 3.4 * len(dtypes)), layout="constrained")
    panels = figure.subplots(len(dtypes), len(works), squeeze=False)
    for (row, column), panel in np.ndenumerate(panels):
        chosen = [group for group in groups if group.dtype == dtypes[row]]
        _panel(panel, shape, chosen, works[column], colours)
    _legend(figure, panels, [*colours, "limit"])
    figure.suptitle(title)
    figure.savefig(path, dpi=150)


def _legend(figure: Figure, panels: np.ndarray, order: Sequence[str]) -> None:
    """One for all panels: a peer may be missing from any of them."""
    handles = {}
    for panel in panels.flat:
        found, labels = panel.get_legend_handles_labels()
        handles.update(zip(labels, found, strict=True))
    names = [name for name in order if name in handles]
    picked = [handles[name] for name in names]
    figure.legend(picked, names, loc="outside lower center", ncols=len(names), frameon=False)


def _colours(groups: Sequence[Group]) -> dict[str, str]:
    """One for each peer, the same in every panel; ours comes first."""
    found = sorted({peer for g in groups for rates in g.rates.values() for peer in rates})
    others = [peer for peer in found if peer != OURS]
    cycled = {p: OTHER_COLOURS[i % len(OTHER_COLOURS)] for i, p in enumerate(others)}
    return {OURS: OUR_COLOUR, **cycled}


def _panel(
    panel: Axes, shape: Shape, groups: Sequence[Group], work: Work, colours: dict[str, str]
) -> None:
    """One cluster of bars for each number of threads; whiskers from the least to the most."""
    for at, group in enumerate(groups):
        rates = {peer: group.rates[work][peer] for peer in colours if peer in group.rates[work]}
        width = 0.8 / max(len(rates), 1)
        for number, (peer, values) in enumerate(rates.items()):
            x = at - 0.4 + width * (number + 0.5)
            middle = median(values)
            whiskers = [[middle - min(values)], [max(values) - middle]]
            panel.bar(x, middle, width, yerr=whiskers, color=colours[peer], label=peer)
            panel.text(x, max(values), short(middle), ha="center", va="bottom", fontsize=6)
        if top := limit(shape, group, work):
            panel.hlines(top, at - 0.42, at + 0.42, "black", "dashed", label="limit", lw=1)
    panel.set_xticks(range(len(groups)), [f"threads: {group.threads}" for group in groups])
    panel.set_title(f"{work.name}, {groups[0].dtype}: tokens/s", fontsize=9)
    panel.spines[["top", "right"]].set_visible(False)
