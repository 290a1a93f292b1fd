"""JSON as RFC 8259 has it, read and written."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks import strict_json

NUMBERS = st.integers(-(10**999) + 1, 10**999) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text()
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)

ANY_TEXT = st.text(st.characters(categories=["L", "N", "P", "S", "Z", "C"]))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner) | st.tuples(inner),
    max_leaves=20,
)

SURROGATE = "\ud800"


@given(DOCUMENTS)
def test_what_is_written_reads_back_as_it_was(document: Any) -> None:
    """Writing and reading again changes nothing, whatever the document is."""
    assert document == strict_json.parse(strict_json.dump(document).encode())


@given(ANYTHING)
def test_what_is_written_is_strict_json_in_utf8_or_nothing_is(value: Any) -> None:
    """NaN, Infinity and lone surrogates never get out."""
    try:
        written = strict_json.dump(value)
    except ValueError:
        assert any(map(_cannot_be_said, _scalars(value)))
    else:
        json.loads(written.encode(), parse_constant=pytest.fail)


def _scalars(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [scalar for item in value.values() for scalar in _scalars(item)]
    if isinstance(value, list | tuple):
        return [scalar for item in value for scalar in _scalars(item)]
    return [value]


def _cannot_be_said(scalar: Any) -> bool:
    return isinstance(scalar, float) and not math.isfinite(scalar)


@given(st.binary())
def test_any_bytes_are_a_document_or_a_value_error(body: bytes) -> None:
    """Nothing that a peer sends raises anything else."""
    try:
        document = strict_json.parse(body)
    except ValueError:
        return
    strict_json.dump(document)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(b"", "not JSON (Expecting value at position 0)", id="nothing at all"),
        pytest.param(b"<html>", "not JSON (Expecting value at position 0)", id="a web page"),
        pytest.param(b'{"a":1} {"a":2}', "not JSON (Extra data at position 8)", id="two documents"),
        pytest.param(b'{"a":1', "not JSON (Expecting ',' delimiter at position 6)", id="half a document"),
        pytest.param(b"NaN", "not JSON (NaN)", id="NaN"),
        pytest.param(b"[-Infinity]", "not JSON (-Infinity)", id="minus infinity"),
        pytest.param(b"1e999", "a number is beyond a double", id="a number beyond a double"),
        pytest.param(b"-1e999", "a number is beyond a double", id="a number below a double"),
        pytest.param(b"9" * 1001, "a number is too long", id="a number of a thousand digits and one"),
        pytest.param(b"9" * 5000, "a number is too long", id="a number that Python refuses to read"),
        pytest.param(
            b'{"mode":"standby","mode":"active"}',
            "not JSON (a name stands twice in one object)",
            id="a name twice",
        ),
        pytest.param(
            b'[{"a":{"b":1,"b":1}}]',
            "not JSON (a name stands twice in one object)",
            id="a name twice, deep within",
        ),
        pytest.param(b"[" * 100_000, "nested too deeply", id="a hundred thousand brackets"),
        pytest.param(b'{"a":' * 100_000, "nested too deeply", id="a hundred thousand braces"),
        pytest.param(b'"\xff"', "not UTF-8", id="latin-1"),
        pytest.param(b'"\xed\xa0\x80"', "not UTF-8", id="a surrogate in three bytes"),
        pytest.param('"a"'.encode("utf-16"), "not UTF-8", id="UTF-16"),
    ],
)
def test_what_is_not_strict_json_is_refused_in_words(body: bytes, said: str) -> None:
    """A person is told what is wrong with it."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # the words are compared whole
        strict_json.parse(body)
    assert said == str(refused.value)


@pytest.mark.parametrize(
    ("body", "document"),
    [
        pytest.param(b'\xef\xbb\xbf{"a":1}', {"a": 1}, id="after a byte order mark"),
        pytest.param(b' \r\n\t{"a":1}\n', {"a": 1}, id="within white space"),
        pytest.param(b"9" * 1000, int("9" * 1000), id="a number of a thousand digits"),
        pytest.param(b"-" + b"9" * 999, -int("9" * 999), id="a negative number of a thousand characters"),
        pytest.param(b'{"a":1,"b":{"a":1}}', {"a": 1, "b": {"a": 1}}, id="a name in two objects"),
        pytest.param(b'"\\ud83d\\ude00"', "\N{GRINNING FACE}", id="a pair of surrogates"),
        pytest.param(b'"\\ud800"', "\N{REPLACEMENT CHARACTER}", id="a lone surrogate"),
        pytest.param(
            b'{"\\udfff":["x\\ud800y"]}',
            {"\N{REPLACEMENT CHARACTER}": ["x\N{REPLACEMENT CHARACTER}y"]},
            id="lone surrogates in names and deep within",
        ),
        pytest.param(b'"\\u0000"', "\0", id="a null character"),
    ],
)
def test_what_is_strict_json_is_read(body: bytes, document: Any) -> None:
    """All that RFC 8259 allows is read, surrogates that are alone as U+FFFD."""
    assert document == strict_json.parse(body)


def test_names_that_become_one_by_cleaning_do_not_fail() -> None:
    """Two different lone surrogates as names leave one name: the last one's value."""
    assert strict_json.parse(b'{"\\ud800":1,"\\ud801":2}') == {"\N{REPLACEMENT CHARACTER}": 2}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        pytest.param({"a": [1, None, True, "ä"]}, '{"a":[1,null,true,"ä"]}', id="compact, in UTF-8"),
        pytest.param(("a", 1), '["a",1]', id="a tuple is an array"),
        pytest.param({1: 2}, '{"1":2}', id="a number as a name is text"),
        pytest.param(SURROGATE, '"\N{REPLACEMENT CHARACTER}"', id="a lone surrogate"),
        pytest.param(
            {SURROGATE: [SURROGATE]},
            '{"\N{REPLACEMENT CHARACTER}":["\N{REPLACEMENT CHARACTER}"]}',
            id="lone surrogates everywhere",
        ),
    ],
)
def test_a_document_is_written_so_that_any_reader_accepts_it(value: Any, written: str) -> None:
    """One line, no white space, characters as they are."""
    assert written == strict_json.dump(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [math.nan]])
def test_what_json_cannot_say_is_not_written(value: Any) -> None:
    """NaN and Infinity raise ValueError."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        strict_json.dump(value)


def test_what_is_nested_too_deeply_is_not_written() -> None:
    """Depth raises ValueError, not RecursionError."""
    value: Any = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="nested too deeply"):
        strict_json.dump(value)


@pytest.mark.parametrize("leaf", [b'"\\ud800"', b"1"])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_hundred_levels_are_read_and_written_and_no_more(
    opening: bytes, closing: bytes, leaf: bytes
) -> None:
    """What can be read can be cleaned, written and redacted as well."""
    document = strict_json.parse(opening * 100 + leaf + closing * 100)
    assert document == strict_json.parse(strict_json.dump(document).encode())
    with pytest.raises(ValueError, match=r"^nested too deeply$"):
        strict_json.parse(opening * 101 + leaf + closing * 101)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    """Breadth is no depth, and brackets within a text are none at all."""
    assert strict_json.parse(b"[" + b"[]," * 500 + b'"' + b"[" * 500 + b'"]') == [[]] * 500 + ["[" * 500]
