"""A jq expression: compiled once, asked of any document."""

from typing import Any

import pytest
from hypothesis import given

from hooks import strict_json
from hooks.expression import Expression
from tests.test_strict_json import DOCUMENTS

MODE = Expression('.mode == "standby"')
IS_NULL = Expression(". == null")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(".mode ==", "syntax error", id="half an expression"),
        pytest.param("no_such_function", "no_such_function/0 is not defined", id="an unknown function"),
        pytest.param("", "Top-level program not given", id="nothing"),
        pytest.param('import "m" as m; .', "module not found", id="a module"),
        pytest.param("\udcff", "surrogates not allowed", id="bytes of an environment that are not UTF-8"),
    ],
)
def test_what_does_not_compile_is_told_in_one_line(text: str, said: str) -> None:
    """Its words are jq's own, without the lines that repeat the program."""
    with pytest.raises(ValueError, match=r"^is not a jq expression: ") as refused:
        Expression(text).compiled()
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_what_does_not_compile_is_true_of_nothing() -> None:
    """An expression that cannot be asked says no."""
    assert not Expression(".mode ==").is_true('{"mode":"standby"}')


def test_what_compiles_is_given_back() -> None:
    """Compiling changes nothing about an expression."""
    expression = Expression(".mode")
    assert expression is expression.compiled()


def test_it_reads_as_it_was_written() -> None:
    """Whoever meets one in a log or a failed assertion sees the program."""
    assert repr(Expression('.mode == "standby"')) == """Expression('.mode == "standby"')"""


@pytest.mark.parametrize(
    ("text", "document", "value"),
    [
        pytest.param(".mode", '{"mode":"standby"}', "standby", id="a field"),
        pytest.param(".mode", "{}", None, id="a field that is not there"),
        pytest.param("first(repeat(1))", "{}", 1, id="the first of endlessly many"),
        pytest.param("limit(1; .[])", "[7,8]", 7, id="the first of many"),
        pytest.param(".", "9007199254740993", 9007199254740992, id="a whole number, as a double has it"),
        pytest.param(".n", '{"n":0.1}', 0.1, id="a fraction"),
        pytest.param("debug | stderr | .a", '{"a":1}', 1, id="what would print elsewhere"),
        pytest.param(". # a comment", "1", 1, id="a comment at the end"),
    ],
)
def test_the_one_value_is_given(text: str, document: str, value: Any) -> None:
    """Whatever JSON value it is."""
    assert value == Expression(text).only(document)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("empty", "yields no value", id="no value"),
        pytest.param("1, 2", "yields more than one value", id="two values"),
        pytest.param("repeat(1)", "yields more than one value", id="endlessly many values"),
        pytest.param("halt", "yields no value", id="a halt"),
        pytest.param('error("why")', "why", id="an error"),
        pytest.param(".[0]", "Cannot index object with number", id="the wrong type"),
        pytest.param('1, error("why")', "why", id="an error after a value"),
    ],
)
def test_anything_but_one_value_is_a_value_error(text: str, said: str) -> None:
    """No value, several and an error are the same to whoever asks for one."""
    with pytest.raises(ValueError, match=said):
        Expression(text).only("{}")


async def test_no_value_can_be_told_within_a_coroutine() -> None:
    """Not a StopIteration, which a coroutine would turn into a RuntimeError."""
    with pytest.raises(ValueError, match="yields no value"):
        Expression("empty").only("{}")


@pytest.mark.parametrize(
    ("text", "true"),
    [
        pytest.param("true", True, id="true"),
        pytest.param(".mode == 1", True, id="a comparison that holds"),
        pytest.param("false", False, id="false"),
        pytest.param("null", False, id="null"),
        pytest.param("1", False, id="a number that is not false"),
        pytest.param('"true"', False, id="the word true"),
        pytest.param("[true]", False, id="true in an array"),
        pytest.param("true, true", False, id="true twice"),
        pytest.param("empty", False, id="no value"),
        pytest.param("error", False, id="an error"),
        pytest.param("true, error", False, id="true, then an error"),
    ],
)
def test_only_one_true_is_true(text: str, true: bool) -> None:  # noqa: FBT001  # a table
    """Exactly one value, and that is `true`."""
    assert true is Expression(text).is_true('{"mode":1}')


def test_one_expression_answers_for_many_documents() -> None:
    """What was asked before, or failed, changes nothing."""
    expression = Expression(".[]")
    assert [expression.is_true(document) for document in ("[true]", "[true,true]", "1", "[true]")] == [
        True,
        False,
        False,
        True,
    ]


@given(DOCUMENTS)
def test_no_document_makes_it_fail_otherwise(document: Any) -> None:
    """Yes, no or a ValueError, whatever an OMS answers."""
    text = strict_json.dump(document)
    assert isinstance(MODE.is_true(text), bool)
    assert [document is None] == [IS_NULL.is_true(text)]
