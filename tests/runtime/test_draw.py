"""A draw is what f64 sums say, however it was found."""

import numpy as np
import pytest

from ptir.runtime import draw as drawing
from ptir.runtime.draw import draw, weigh


def by_summing(scaled: np.ndarray, number: float) -> int:
    edges = np.cumsum(np.exp(scaled))
    return int(np.searchsorted(edges, number * edges[-1], side="right"))


def scaled_logits(n: int, spread: float, seed: int) -> np.ndarray:
    logits = np.random.default_rng(seed).standard_normal(n) * spread
    return np.asarray(logits - logits.max())


@pytest.mark.parametrize("n", [1, 2, 256, 257, 512, 1000, 50_257])
@pytest.mark.parametrize("spread", [0, 1e-3, 1, 4, 40, 1e300])
def test_a_draw_is_that_of_f64_sums(n, spread):
    scaled = scaled_logits(n, spread, seed=n)
    edges = np.cumsum(np.exp(scaled)) / np.exp(scaled).sum()
    near = [np.nextafter(e, to) for e in edges[:: n // 20 + 1] for to in (0, 1)]
    numbers = [0, np.nextafter(1, 0), *np.random.default_rng(0).random(50), *near]
    for number in (float(x) for x in numbers if x < 1):
        assert draw(scaled, number) == by_summing(scaled, number)


def test_a_draw_is_mostly_found_without_f64_sums(monkeypatch):
    monkeypatch.setattr(drawing, "_exact", lambda scaled, number: -1)
    scaled = scaled_logits(50_257, 4.0, seed=1)
    numbers = np.random.default_rng(0).random(1000).tolist()
    found = [i for i in (draw(scaled, x) for x in numbers) if i >= 0]
    assert len(found) > 700


@pytest.mark.parametrize("spread", [0, 1, 4, 40, 1e300])
def test_sums_of_f32_weights_are_off_by_a_third_of_the_margin_at_most(spread):
    scaled = scaled_logits(151_936, spread, seed=2)
    exact = np.cumsum(np.exp(scaled))
    off = np.abs(np.cumsum(weigh(scaled), dtype=np.float64) - exact).max() / exact[-1]
    assert off < drawing.MARGIN / 3


def test_what_cannot_come_weighs_nothing_and_is_not_drawn():
    scaled = np.full(1000, -np.inf)
    scaled[[500, 700]] = 0
    assert np.flatnonzero(weigh(scaled)).tolist() == [500, 700]
    numbers = (0.0, 0.25, 0.5, 0.75, float(np.nextafter(1, 0)))
    assert [draw(scaled, x) for x in numbers] == [500, 500, 700, 700, 700]
