"""Messages to a prompt, by the chat template of a model. Knows no model."""

from collections.abc import Mapping, Sequence
from typing import Any, final

from .error import ChatError
from .marks import Marks, unused
from .template import DEFAULT, Limits, Renderer, as_json
from .tokenizer import Tokenizer

Message = Mapping[str, Any]
"""`role`, `content` and whatever else the template reads, of JSON's types."""

_Given = dict[str, Any]
_DEFAULT = "default"
_WITH_TOOLS = "tool_use"
_ANCHOR = "\n"  # no tokenizer joins it with what stands behind a mark, or it is noticed


@final
class Chat:
    """A tokenizer's chat template at work, as Hugging Face's `apply_chat_template` has it.

    The template is not trusted: it runs in a child process within `limits`, which the first render
    starts (about 0.15 s) and later ones keep. Close it, or use it in a `with` block. Every method
    may be called from any thread.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: str | None = None,
        *,
        limits: Limits = DEFAULT,
    ) -> None:
        """`template` is used instead of the tokenizer's own. Raises ChatError if there is none."""
        self._tokenizer = tokenizer
        templates = {_DEFAULT: template} if template is not None else tokenizer.chat_templates
        if not templates:
            raise ChatError("request", "the tokenizer has none; pass template=")
        self._templates: Mapping[str, str] = templates
        self._renderer = Renderer(limits)

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Any] | None = None,
        documents: Sequence[Any] | None = None,
        add_generation_prompt: bool = False,
        **variables: Any,
    ) -> str:
        """The prompt as text. `variables` go to the template, over `bos_token` and its like.

        Tools and documents are objects as the template reads them. What is None in a message is
        left out. Raises ChatError.
        """
        given = _given(messages, tools, documents)
        return self._rendered(given, add_generation_prompt, variables)

    def ids(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Any] | None = None,
        documents: Sequence[Any] | None = None,
        add_generation_prompt: bool = False,
        add_bos: bool = False,
        **variables: Any,
    ) -> list[int]:
        """The prompt as token ids; `add_bos` puts the BOS token before a prompt without one.

        What the template spells becomes special tokens; what messages, tools and documents spell
        does not. To tell one from the other in the rendered text, a private character is put inside
        each spelling of a special token in what is given, and at an end of it that could complete
        one together with the template; the text is cut there before it is encoded. So strings keep
        their beginnings, ends and whitespace, which templates look at, where a sentinel around the
        whole of them would hide these, and what a template cuts in two leaves nothing unpaired.
        Added tokens that are not special (`<think>`, `<tool_call>`) are kept apart in the same way
        if the template spells them, except in what the assistant said: there they are its own.
        A role is given by the program, so a template may make a token of it (`<|` + role + `|>`),
        and `variables` are the program's own words.

        Raises ChatError, and TokenizerError for text that cannot be encoded.
        """
        given = _given(messages, tools, documents)
        template = self._template(given)
        special, control = self._spellings(template)
        mark = unused(as_json([given, template, control]))
        if mark is None:
            raise ChatError("request", "the messages have every private character; leave one out")
        said, others = Marks(special, mark), Marks(control, mark)
        text = self._rendered(_marked(given, said, others), add_generation_prompt, variables, mark)
        ids = self._encoded(others.split(text))
        self._check(ids, said.count(text))
        return self._tokenizer.begun(ids) if add_bos else ids

    def close(self) -> None:
        """End the child process. May be called again; a later render starts another."""
        self._renderer.close()

    def _rendered(
        self, given: _Given, generate: bool, variables: Mapping[str, Any], mark: str = ""
    ) -> str:
        known = {**self._tokenizer.special_tokens, **given, "add_generation_prompt": generate}
        return self._renderer.render(self._template(given), {**known, **variables}, mark=mark)

    def _template(self, given: _Given) -> str:
        """The one for tools if there are tools and it exists, or else the default one."""
        name = _WITH_TOOLS if given["tools"] and _WITH_TOOLS in self._templates else _DEFAULT
        if name not in self._templates:
            known = ", ".join(sorted(self._templates))[:200]
            raise ChatError("request", f"the tokenizer has {known}, none is {_DEFAULT!r}")
        return self._templates[name]

    def _spellings(self, template: str) -> tuple[list[str], list[str]]:
        """Of special tokens, and of all that the template may make by spelling them."""
        added = self._tokenizer.added.items()
        special = [text for id, text in added if self._tokenizer.is_special(id)]
        return special, [text for _, text in added if text in template or text in special]

    def _encoded(self, pieces: Sequence[str]) -> list[int]:
        ids = self._tokenizer.encode(pieces[0], special=True)
        for piece in filter(None, pieces[1:]):
            ids += self._continued(piece)
        return ids

    def _continued(self, piece: str) -> list[int]:
        """The ids of text that stands behind other text: without the space put before a prompt."""
        before = self._tokenizer.encode(_ANCHOR)
        both = self._tokenizer.encode(_ANCHOR + piece, special=True)
        if both[: len(before)] == before:
            return both[len(before) :]
        return self._tokenizer.encode(piece, special=True)

    def _check(self, ids: Sequence[int], spelled: int) -> None:
        """No special token may come of anything but its spelling, such as its normal form."""
        made = [id for id in ids if self._tokenizer.is_special(id)]
        made = [id for id in made if id != self._tokenizer.unk_id]
        if len(made) > spelled:
            fact = f"{len(made)} special tokens came of {spelled} in the template's text"
            raise ChatError("special", f"{fact}; a message has one in another form")

    def __enter__(self) -> "Chat":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _given(
    messages: Sequence[Message], tools: Sequence[Any] | None, documents: Sequence[Any] | None
) -> _Given:
    """What a template knows as such. Raises ChatError for messages that are no objects."""
    if isinstance(messages, Mapping | str) or not all(isinstance(m, Mapping) for m in messages):
        fact = "messages are a list of objects such as {'role': 'user', 'content': 'Hello'}"
        raise ChatError("request", fact)
    said = [{key: each for key, each in m.items() if each is not None} for m in messages]
    return {"messages": said, "tools": tools, "documents": documents}


def _marked(given: _Given, said: Marks, others: Marks) -> _Given:
    """What is given, marked: what the assistant said by its own rule."""
    messages = [
        (said if m.get("role") == "assistant" else others).put(m) for m in given["messages"]
    ]
    return {**{key: others.put(each) for key, each in given.items()}, "messages": messages}
