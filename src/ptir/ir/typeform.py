"""Types and sizes from text: `f32[2, ?S+1]`, `(f32[2], si32[])`, `4*?S-1`. Knows no programs."""

from .dim import SYMBOL, Dim, Size
from .dtype import DTYPES, DType
from .error import SpecError, nearest
from .lexer import Lexer
from .type import MAX_RANK, TensorType, TupleType, Type, tensor_type
from .written import MAX_NESTING

MAX_SIZE = 1 << 63
MAX_TERMS = 64  # of one size


def parse_type(text: str) -> Type:
    """The type that `str(type)` wrote; raises `SpecError` with the line and column."""
    lexer = Lexer(text)
    found = read_type(lexer)
    _end(lexer)
    return found


def parse_dim(text: str) -> Size:
    """A size as `str` writes it: an int, or a `Dim` such as `?S+1`; raises `SpecError`."""
    lexer = Lexer(text)
    found = read_size(lexer)
    _end(lexer)
    return found


def _end(lexer: Lexer) -> None:
    if lexer.token:
        lexer.unexpected("the end")


def read_type(lexer: Lexer, depth: int = 0) -> Type:
    """The type at the current token."""
    if lexer.token != "(":
        return read_tensor_type(lexer, read_dtype(lexer))
    if depth >= MAX_NESTING:
        lexer.fail(f"tuples nest deeper than {MAX_NESTING}")
    lexer.advance()
    items: list[Type] = []
    while not lexer.accept(")"):
        if items:
            lexer.expect(",")
        items.append(read_type(lexer, depth + 1))
    return TupleType(tuple(items))


def read_dtype(lexer: Lexer) -> DType:
    found = DTYPES.get(lexer.token)
    if found is None:
        if lexer.token[:1].isalpha():
            lexer.fail(f"unknown dtype {lexer.token!r}{nearest(lexer.token, DTYPES)}")
        lexer.unexpected("a type")
    lexer.advance()
    return found


def read_tensor_type(lexer: Lexer, element: DType) -> TensorType:
    """The shape at the current token as a type of `element`."""
    start = lexer.start
    lexer.expect("[")
    shape: list[Size] = []
    while not lexer.accept("]"):
        if shape:
            lexer.expect(",")
        if len(shape) == MAX_RANK:
            lexer.fail(f"more than {MAX_RANK} axes")
        shape.append(read_size(lexer))
    try:
        return tensor_type(shape, element)
    except SpecError as error:
        raise lexer.located(error, start) from None


def read_size(lexer: Lexer) -> Size:
    """`3`, `?S`, `-?S`, `4*?S+1`: integers and symbols, each symbol with its factor."""
    return read_sum(lexer, -1 if lexer.accept("-") else 1, MAX_SIZE)


def read_sum(lexer: Lexer, sign: int, limit: int) -> Size:
    """A size whose own sign is passed already; its integers stay below `limit`."""
    terms: dict[str, int] = {}
    constant = 0
    for _ in range(MAX_TERMS):
        factor, name = _term(lexer)
        if name:
            terms[name] = terms.get(name, 0) + sign * factor
        else:
            constant += sign * factor
        if abs(constant) >= limit or abs(terms.get(name, 0)) >= limit:
            lexer.fail(f"an integer that {limit.bit_length()} bits cannot hold")
        if lexer.token not in ("+", "-"):
            break
        sign = -1 if lexer.advance() == "-" else 1
    else:
        lexer.fail(f"a size of more than {MAX_TERMS} terms")
    kept = tuple(sorted((name, factor) for name, factor in terms.items() if factor))
    return Dim(kept, constant) if kept else constant


def _term(lexer: Lexer) -> tuple[int, str]:
    if lexer.token[:1] == "?":
        return 1, read_symbol(lexer)
    factor = read_integer(lexer)
    return factor, read_symbol(lexer) if lexer.accept("*") else ""


def read_symbol(lexer: Lexer) -> str:
    name = lexer.token[1:]
    if lexer.token[:1] != "?" or not SYMBOL.fullmatch(name):
        lexer.unexpected("a symbol such as ?S")
    lexer.advance()
    return name


def read_integer(lexer: Lexer) -> int:
    """The unsigned integer at the current token."""
    if not (lexer.token.isascii() and lexer.token.isdecimal()):
        lexer.unexpected("an integer")
    return int(lexer.advance())  # the lexer bounds the length of a token
