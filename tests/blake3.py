"""BLAKE3 of up to one chunk (1,024 bytes), written from the published specification alone."""

import struct

_IV = (
    0x6A09E667,
    0xBB67AE85,
    0x3C6EF372,
    0xA54FF53A,
    0x510E527F,
    0x9B05688C,
    0x1F83D9AB,
    0x5BE0CD19,
)
_PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
_COLUMNS_THEN_DIAGONALS = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip
_CHUNK_START, _CHUNK_END, _ROOT = 1, 2, 8
_MASK = 0xFFFFFFFF


def _rotate(x: int, n: int) -> int:
    return (x >> n | x << (32 - n)) & _MASK


def _mix(v: list[int], at: tuple[int, int, int, int], x: int, y: int) -> None:
    a, b, c, d = at
    for word, right_d, right_b in ((x, 16, 12), (y, 8, 7)):
        v[a] = (v[a] + v[b] + word) & _MASK
        v[d] = _rotate(v[d] ^ v[a], right_d)
        v[c] = (v[c] + v[d]) & _MASK
        v[b] = _rotate(v[b] ^ v[c], right_b)


def _compress(chain: tuple[int, ...], block: bytes, flags: int) -> tuple[int, ...]:
    words = list(struct.unpack("<16I", block.ljust(64, b"\0")))
    v = [*chain, *_IV[:4], 0, 0, len(block), flags]
    for _ in range(7):
        for i, at in enumerate(_COLUMNS_THEN_DIAGONALS):
            _mix(v, at, words[2 * i], words[2 * i + 1])
        words = [words[i] for i in _PERMUTATION]
    return tuple(v[i] ^ v[i + 8] for i in range(8))


def blake3(data: bytes) -> bytes:
    """The 32-byte digest of at most 1,024 bytes."""
    assert len(data) <= 1024
    blocks = [data[i : i + 64] for i in range(0, len(data), 64)] or [b""]
    chain: tuple[int, ...] = _IV
    for i, block in enumerate(blocks):
        start = _CHUNK_START if i == 0 else 0
        end = _CHUNK_END | _ROOT if i == len(blocks) - 1 else 0
        chain = _compress(chain, block, start | end)
    return struct.pack("<8I", *chain)
