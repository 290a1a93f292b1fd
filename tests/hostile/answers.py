"""Answers in place of a document, that no caution must take for what they claim."""

from __future__ import annotations

from tests.hostile import peer as hostile
from tests.hostile.peer import (
    MEBIBYTE,
    Behaviour,
    chunked,
    drip,
    endless,
    gzip_bomb,
    ok_head,
    raw,
    redirect,
    reply,
    reset_after,
)

# Each says `standby`, and `healthy` too, wherever it can: what is not a document must not be taken for one.
CLAIM = b'{"mode": "standby", "reason": null, "status": "healthy", "exchange_connections": "all_connected"}'
JSON = ("Content-Type", "application/json")


def claim_with(extra: str) -> Behaviour:
    """Answer with the claim and one more member, as it stands."""
    return reply(200, CLAIM[:-1] + b", " + extra.encode() + b"}", [JSON])


SLOW: dict[str, Behaviour] = {
    "never answers": hostile.silence,
    "drips its head": drip(b"X-Slow: 1\r\n", after=b"HTTP/1.1 200 OK\r\n"),
    "drips its status line": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", every=0.3),
    "drips its body": drip(b" ", after=ok_head("Content-Length: 100000") + CLAIM),
    "drips chunks": drip(b"1\r\n \r\n", after=ok_head("Transfer-Encoding: chunked")),
    "stops in the middle of its head": drip(b"H", after=b"HTTP/1.1 200 OK\r\nContent-", every=3600),
    "stops one byte short": drip(
        b" ", after=ok_head(f"Content-Length: {len(CLAIM) + 2}") + CLAIM, every=3600
    ),
}

ENDLESS: dict[str, Behaviour] = {
    "a body without end": endless(b" " * 65536, after=ok_head("Content-Length: 99999999999999")),
    "a body without end or length": endless(b" " * 65536, after=ok_head()),
    "chunks without end": endless(
        b"8000\r\n" + b" " * 0x8000 + b"\r\n", after=ok_head("Transfer-Encoding: chunked")
    ),
    "tiny chunks without end": endless(b"1\r\n \r\n" * 1000, after=ok_head("Transfer-Encoding: chunked")),
    "headers without end": endless(b"X-More: 1\r\n" * 1000, after=b"HTTP/1.1 200 OK\r\n"),
    "one header without end": endless(b"x" * 65536, after=b"HTTP/1.1 200 OK\r\nX-Long: "),
    "a status line without end": endless(b"x" * 65536, after=b"HTTP/1.1 200 "),
    "trailers without end": endless(
        b"X-More: 1\r\n" * 1000, after=ok_head("Transfer-Encoding: chunked") + b"0\r\n"
    ),
    "a chunk extension without end": endless(
        b"x" * 65536, after=ok_head("Transfer-Encoding: chunked") + b"1;ext="
    ),
    "interim answers without end": endless(b"HTTP/1.1 102 Processing\r\n\r\n" * 100),
    "early hints without end": endless(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100),
}

LARGE: dict[str, Behaviour] = {
    "a gzip bomb": gzip_bomb(),
    "a gzip bomb in gzip": reply(
        200, hostile.gzip_of_zeros(64 * MEBIBYTE), [("Content-Encoding", "gzip, gzip")]
    ),
    "one byte too many": reply(200, CLAIM + b" " * (MEBIBYTE + 1 - len(CLAIM)), [JSON]),
    "arrays in arrays": reply(200, b"[" * 100_000 + b"]" * 100_000, [JSON]),
    "objects in objects": reply(200, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, [JSON]),
    "a number of a million digits": claim_with('"big": ' + "9" * 1_000_000),
    "headers of ten megabytes": reply(200, CLAIM, [("X-Large", "x" * 10_000_000)]),
    "a hundred thousand headers": reply(200, CLAIM, [("X-More", "1")] * 100_000),
}

BROKEN: dict[str, Behaviour] = {
    "a reset before the answer": reset_after(),
    "a reset in the head": reset_after(b"HTTP/1.1 200 OK\r\nContent-"),
    "a reset in the body": reset_after(ok_head(f"Content-Length: {len(CLAIM) + 10}") + CLAIM),
    "an end before the answer": raw(b""),
    "an end in the body": raw(ok_head(f"Content-Length: {len(CLAIM) + 10}") + CLAIM),
    "an end before the last chunk": chunked(b"%x\r\n%s\r\n" % (len(CLAIM), CLAIM), end=b""),
    "an SSH banner": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "zeros": raw(bytes(1000)),
    "a bare document": raw(CLAIM),
    "a status in letters": raw(b"HTTP/1.1 abc OK\r\n\r\n" + CLAIM),
    "a status of two digits": raw(b"HTTP/1.1 20 OK\r\n\r\n" + CLAIM),
    "a negative length": raw(ok_head("Content-Length: -1") + CLAIM),
    "a length in letters": raw(ok_head("Content-Length: many") + CLAIM),
    "two lengths": raw(ok_head(f"Content-Length: {len(CLAIM)}", "Content-Length: 2") + CLAIM),
    "a length too short": raw(ok_head(f"Content-Length: {len(CLAIM) - 1}") + CLAIM),
    "a chunk size in letters": chunked(b"zz\r\n" + CLAIM + b"\r\n"),
    "a chunk size beyond all bounds": chunked(b"ffffffffffffffffffff\r\n" + CLAIM + b"\r\n"),
    "a negative chunk size": chunked(b"-1\r\n" + CLAIM + b"\r\n"),
    "a chunk size too small": chunked(b"2\r\n" + CLAIM + b"\r\n"),
    "a coding that nobody asked for": reply(200, CLAIM, [("Content-Encoding", "br")]),
    "gzip that is none": reply(200, CLAIM, [("Content-Encoding", "gzip")]),
    "gzip cut short": reply(200, hostile.gzip_of_zeros(MEBIBYTE)[:-200], [("Content-Encoding", "gzip")]),
    "switching protocols": raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + CLAIM),
}

NO_DOCUMENT: dict[str, Behaviour] = {
    "a login page": reply(
        200, b"<html>Please log in: standby, healthy</html>", [("Content-Type", "text/html")]
    ),
    "nothing": reply(200, b"", [JSON]),
    "no content": raw(ok_head(status=204), keep=True),
    "two documents": reply(200, CLAIM + CLAIM, [JSON]),
    "a document and a half": reply(200, CLAIM + b'{"mode":', [JSON]),
    "half a document": reply(200, CLAIM[:-1], [JSON]),
    "single quotes": reply(200, CLAIM.replace(b'"', b"'"), [JSON]),
    "a trailing comma": reply(200, CLAIM[:-1] + b",}", [JSON]),
    "a comment": reply(200, b"/* all is well */" + CLAIM, [JSON]),
    "a name twice": claim_with('"mode": "standby", "status": "healthy"'),
    "NaN": claim_with('"lag": NaN'),
    "Infinity": claim_with('"lag": -Infinity'),
    "a number beyond all numbers": claim_with('"lag": 1e999'),
    "UTF-16": reply(200, CLAIM.decode().encode("utf-16"), [JSON]),
    "bytes that are not UTF-8": reply(200, CLAIM[:-1] + b', "note": "\xff\xfe"}', [JSON]),
}

STRANGE: dict[str, Behaviour] = {
    "null": reply(200, b"null", [JSON]),
    "a word": reply(200, b'"standby"', [JSON]),
    "an array": reply(200, b"[" + CLAIM + b"]", [JSON]),
    "a document in a document": reply(200, b'{"data": ' + CLAIM + b"}", [JSON]),
    "numbers where words belong": reply(200, b'{"mode": 1, "status": 1, "exchange_connections": 1}', [JSON]),
    "true where words belong": reply(
        200, b'{"mode": true, "status": true, "exchange_connections": true}', [JSON]
    ),
    "lists where words belong": reply(
        200,
        b'{"mode": ["standby"], "status": ["healthy"], "exchange_connections": ["all_connected"]}',
        [JSON],
    ),
    "words in capitals": reply(200, CLAIM.upper(), [JSON]),
    "words with white space": reply(
        200, CLAIM.replace(b"standby", b"standby ").replace(b"healthy", b" healthy"), [JSON]
    ),
    "words with half a character": reply(
        200, b'{"mode": "standby\\ud800", "status": "healthy\\udc00", "exchange_connections": "x"}', [JSON]
    ),
    "an owner that is no word": reply(200, b'{"mode": "draining", "reason": {"who": [1, null]}}', [JSON]),
}
"""JSON that does not say what is asked for."""

NOT_YET_STATUS: dict[str, Behaviour] = {
    f"status {status}": reply(status, CLAIM, [JSON])
    for status in (300, 304, 400, 404, 410, 429, 500, 501, 503, 999)
} | {f"a redirect by {status}": redirect(status, "/health/elsewhere") for status in (302, 307)}

UNREADABLE: dict[str, dict[str, Behaviour]] = {
    "slow": SLOW,
    "endless": ENDLESS,
    "large": LARGE,
    "broken": BROKEN,
    "no documents": NO_DOCUMENT,
    "of another status": NOT_YET_STATUS,
}
"""No document can be read from any of these."""

LIARS: dict[str, Behaviour] = {
    name: (SLOW | LARGE | BROKEN | NO_DOCUMENT | NOT_YET_STATUS)[name]
    for name in (
        "stops one byte short",
        "one byte too many",
        "a reset in the body",
        "an end before the last chunk",
        "a bare document",
        "two lengths",
        "two documents",
        "a name twice",
        "status 404",
        "status 503",
        "a redirect by 307",
    )
}
"""The ones of them that are most easily believed."""
