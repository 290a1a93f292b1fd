"""Known secrets are taken out of whatever comes out: logs, pages, the termination log.

By value, not by shape: a peer can echo a webhook's secret path in its error body, and a runbook's
link must keep its query.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

HIDDEN = "[redacted]"
_SHORTEST_TOKEN = 8

_secrets: set[str] = set()
_any_secret: list[re.Pattern[str]] = []


def hide(*secrets: str | None) -> None:
    """Remember values that must never come out."""
    for secret in filter(None, secrets):
        # The second is how it reads inside a document that is quoted as JSON.
        _secrets.update((secret, json.dumps(secret)[1:-1]))
    if _secrets:
        # In one pass, the longest first: a short one that occurs in the mark, or in another, would mangle it.
        _any_secret[:] = [re.compile("|".join(map(re.escape, sorted(_secrets, key=len, reverse=True))))]


def hide_url(url: str, *, path: bool) -> None:
    """Remember what of a URL is secret: user info and query always, the path where it is a webhook's."""
    try:
        parts = urlsplit(url)
    except ValueError:
        hide(url, url.partition("://")[2].partition("@")[0])
        return
    user_info = parts.netloc.rpartition("@")[0]
    hide(user_info, unquote(user_info), parts.password, unquote(parts.password or ""), parts.query)
    hide(*(value for _, value in parse_qsl(parts.query) if len(value) >= _SHORTEST_TOKEN))
    if user_info:
        hide(b64encode(unquote(user_info).encode("utf-8", "replace")).decode())
    if path and len(parts.path) > 1:
        hide(url, parts.path, parts.path.strip("/"))
        last = parts.path.rstrip("/").rpartition("/")[2]
        hide(last if len(last) >= _SHORTEST_TOKEN else None)


def forget_all() -> None:
    """Start anew, for a process that plays several commands (the tests)."""
    _secrets.clear()
    _any_secret.clear()


def redact(value: Any) -> Any:
    """Return the same JSON-like value with every known secret replaced, in keys as well."""
    if not _any_secret:
        return value
    if isinstance(value, str):
        return _any_secret[0].sub(HIDDEN, value)
    if isinstance(value, dict):
        return {redact(key): redact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return value


def printable(text: str) -> str:
    """Return a text with a space for every character that is not printed."""
    return "".join(character if character.isprintable() else " " for character in text)
