"""JSON as RFC 8259 has it, in both directions: what Python's own reader and writer let through is stopped."""

from __future__ import annotations

import codecs
import json
import math
import re
from typing import Any

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_INTEGER = 1000
_DEEPEST = 100
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def parse(body: bytes) -> Any:
    """Read one document; raise ValueError, in words for a person, for what is not strict JSON.

    Names given twice, NaN, Infinity and numbers beyond a double are refused; a lone surrogate becomes
    U+FFFD, since jq fails on it.
    """
    try:
        text = body.removeprefix(codecs.BOM_UTF8).decode()
        document = json.loads(
            text,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_short,
            object_pairs_hook=_each_name_once,
        )
        if text.count("[") + text.count("{") > _DEEPEST:
            _check_depth(document, _DEEPEST)
        # Only an escape can bring a lone surrogate in.
        return clean(document) if "\\u" in text else document
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at position {error.pos})") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def dump(value: Any) -> str:
    """Write a document that any reader accepts; raise ValueError for what JSON cannot say."""
    try:
        return json.dumps(clean(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def clean(value: Any) -> Any:
    """Return the value with every lone surrogate replaced, in names as well."""
    if isinstance(value, str):
        return value if value.isascii() else _LONE_SURROGATE.sub(REPLACEMENT, value)
    if isinstance(value, dict):
        return {clean(name): clean(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"not JSON ({name})")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("a number is beyond a double")
    return number


def _check_depth(value: Any, left: int) -> None:
    """Refuse what could be read but not be written again, or redacted, within Python's recursion."""
    if isinstance(value, dict | list):
        if not left:
            raise ValueError("nested too deeply")
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, left - 1)


def _short(digits: str) -> int:
    if len(digits) > _LONGEST_INTEGER:
        raise ValueError("a number is too long")
    return int(digits)


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("not JSON (a name stands twice in one object)")
    return document
