"""Stop strings in text that comes in pieces, against searches of the whole text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptir.text import StopError, StopStrings

TEXT = st.text("aab🙂é\n", max_size=40)
STOPS = st.lists(st.text("aab🙂é\n", min_size=1, max_size=5), min_size=1, max_size=4)


def run(stops: list[str] | str, pieces: list[str]) -> tuple[list[str], str | None]:
    stream = StopStrings(stops)
    return [*map(stream.feed, pieces), stream.flush()], stream.stopped


def cut(text: str, places: list[int]) -> list[str]:
    ends = sorted({min(place, len(text)) for place in places} | {len(text)})
    return [text[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def naive(text: str, stops: list[str]) -> tuple[str, str | None]:
    """The text before the stop that is complete first, the longest of those that end there."""
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            longest = max(found, key=len)
            return text[: end - len(longest)], longest
    return text, None


@settings(max_examples=1000)
@given(
    text=TEXT, stop=st.text("aab🙂é\n", min_size=1, max_size=5), places=st.lists(st.integers(0, 40))
)
def test_one_stop_string_leaves_what_split_leaves(text, stop, places):
    pieces, stopped = run(stop, cut(text, places))
    assert "".join(pieces) == text.split(stop, 1)[0]
    assert (stopped is not None) == (stop in text)


@settings(max_examples=1000)
@given(text=TEXT, stops=STOPS, places=st.lists(st.integers(0, 40)))
def test_several_stop_strings_leave_the_text_before_the_first_that_is_complete(text, stops, places):
    pieces, stopped = run(stops, cut(text, places))
    assert ("".join(pieces), stopped) == naive(text, stops)


@settings(max_examples=1000)
@given(text=TEXT, stops=STOPS)
def test_only_what_may_be_the_beginning_of_a_stop_is_held_back(text, stops):
    stream, shown = StopStrings(stops), ""
    for end, character in enumerate(text, start=1):
        shown += stream.feed(character)
        if stream.stopped is not None:
            return
        held = text[len(shown) : end]
        prefixes = [stop[:n] for stop in stops for n in range(1, len(stop))]
        assert held == max((p for p in prefixes if text[:end].endswith(p)), key=len, default="")


@settings(max_examples=500)
@given(text=TEXT, stops=STOPS)
def test_where_no_stop_lies_inside_another_the_shortest_split_is_left(text, stops):
    if any(a != b and a in b for a in stops for b in stops):
        return
    pieces, _ = run(stops, [text])
    shortest = min((text.split(stop, 1)[0] for stop in stops), key=len)
    assert "".join(pieces) == shortest


@pytest.mark.parametrize(
    "stops, pieces, expected, stopped",
    [
        (["###"], ["a#", "#", "b##", "#c"], ["a", "", "##b", "", ""], "###"),
        (["ab", "abc"], ["xabc"], ["x", ""], "ab"),
        (["abcd", "bc"], ["abc", "d"], ["a", "", ""], "bc"),
        (["bc", "abc"], ["a", "b", "c"], ["", "", "", ""], "abc"),
        (["aab"], ["a", "a", "a", "b"], ["", "", "a", "", ""], "aab"),
        (["\n\nUser:"], ["Hi\n", "\nUser", "s"], ["Hi", "", "\n\nUsers", ""], None),
        (["🙂🙂"], ["a🙂", "b🙂", "🙂"], ["a", "🙂b", "", ""], "🙂🙂"),
        ([], ["a", "b"], ["a", "b", ""], None),
    ],
)
def test_pieces_come_out_so(stops, pieces, expected, stopped):
    assert run(stops, pieces) == (expected, stopped)


def test_nothing_comes_after_a_stop():
    stream = StopStrings(["x"])
    assert (stream.feed("axb"), stream.feed("c"), stream.flush()) == ("a", "", "")


def test_the_end_of_a_stream_gives_what_was_held_back_once():
    stream = StopStrings("xyz")
    assert (stream.feed("axy"), stream.flush(), stream.flush()) == ("a", "xy", "")
    assert stream.feed("z") == "z"


@pytest.mark.parametrize("stops", [[""], ["a", ""], [1]])
def test_a_stop_that_cannot_stop_is_refused(stops):
    with pytest.raises(StopError, match="wanted one character or more"):
        StopStrings(stops)


def test_long_stops_cost_time_in_proportion_to_the_text():
    stream = StopStrings(["a" * 100_000 + "b"])
    text = "".join(stream.feed("a" * 1000) for _ in range(200))
    assert text + stream.flush() == "a" * 200_000
