"""What an outcome lets one do next, for every status that there is."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks import classify
from hooks.attempt import Answer, Failure, NoAnswer, Outcome
from hooks.classify import Next

Judge = Callable[[Outcome], Next]

STATUSES = range(100, 1000)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


SUCCESSES = set(range(200, 300))
TEMPORARY = {408, 429, *range(500, 600)}
PERMANENT = set(STATUSES) - SUCCESSES - TEMPORARY


@pytest.mark.parametrize(
    ("judge", "done", "refused"),
    [
        pytest.param(classify.switch, SUCCESSES, PERMANENT | {501}, id="a switch"),
        pytest.param(classify.poll, SUCCESSES, {401, 403}, id="a look"),
        pytest.param(classify.page, {202}, PERMANENT, id="a page"),
        pytest.param(classify.fallback, SUCCESSES, set(), id="a fallback"),
        pytest.param(classify.read, SUCCESSES, PERMANENT, id="a question to Kubernetes"),
    ],
)
def test_every_status_is_done_refused_or_asked_again(judge: Judge, done: set[int], refused: set[int]) -> None:
    """What is neither done nor refused is tried again."""
    table = dict.fromkeys(STATUSES, Next.AGAIN)
    table |= dict.fromkeys(done, Next.DONE) | dict.fromkeys(refused, Next.REFUSED)
    assert table == {status: judge(Answer(status)) for status in STATUSES}


@pytest.mark.parametrize("failure", Failure)
@pytest.mark.parametrize("judge", [classify.switch, classify.poll, classify.page, classify.read])
def test_without_an_answer_only_a_certificate_refuses(judge: Judge, failure: Failure) -> None:
    """Whatever else went wrong on the way may go right the next time."""
    judged = Next.REFUSED if failure is Failure.UNTRUSTED else Next.AGAIN
    assert judged is judge(NoAnswer(failure, "why"))


@pytest.mark.parametrize("failure", Failure)
def test_the_fallback_is_tried_again_whatever_went_wrong(failure: Failure) -> None:
    """It is the last resort."""
    assert classify.fallback(NoAnswer(failure, "why")) is Next.AGAIN


@pytest.mark.parametrize("judge", [classify.switch, classify.page, classify.fallback])
@pytest.mark.parametrize("fault", ["longer than 10 bytes", "broke off: connection reset by peer"])
def test_the_status_decides_where_a_body_may_be_anything(judge: Judge, fault: str) -> None:
    """What is wrong with the body of a 202 changes nothing."""
    assert judge(Answer(202, b"x", fault=fault)) is Next.DONE


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param("0", 0, id="no time at all"),
        pytest.param("7", 7, id="seconds"),
        pytest.param(" 7 ", 7, id="seconds within white space"),
        pytest.param("007", 7, id="seconds with zeros before"),
        pytest.param("9" * 10_000, 1e9, id="seconds beyond any number"),
        pytest.param("-1", 0, id="negative seconds"),
        pytest.param("+7", 0, id="a sign"),
        pytest.param("1.5", 0, id="a fraction"),
        pytest.param("1e3", 0, id="an exponent"),
        pytest.param("1_0", 0, id="a line within a number"),
        pytest.param("٧", 0, id="a digit that is not ASCII"),
        pytest.param("²", 0, id="a digit that is no number"),
        pytest.param("", 0, id="nothing"),
        pytest.param("soon", 0, id="a word"),
        pytest.param("7, 8", 0, id="two of them"),
        pytest.param("Thu, 01 Jan 2026 12:00:30 GMT", 30, id="a date"),
        pytest.param("Thursday, 01-Jan-26 12:00:30 GMT", 30, id="a date as RFC 850 has it"),
        pytest.param("Thu Jan  1 12:00:30 2026", 30, id="a date as asctime has it"),
        pytest.param("Thu, 01 Jan 2026 13:00:30 +0100", 30, id="a date elsewhere"),
        pytest.param("Thu, 01 Jan 2026 12:00:30", 30, id="a date without its zone"),
        pytest.param("Thu, 01 Jan 2026 12:00:30 -0000", 30, id="a date of an unknown zone"),
        pytest.param("Wed, 31 Dec 2025 12:00:00 GMT", 0, id="a date that has passed"),
        pytest.param("Fri, 01 Jan 2027 12:00:00 GMT", 365 * 86400, id="a date in a year"),
        pytest.param("Fri, 31 Feb 2026 12:00:00 GMT", 0, id="a day that no month has"),
        pytest.param("Fri, 01 Jan 99999 12:00:00 GMT", 0, id="a year that no calendar has"),
        pytest.param("Thu, 01 Jan 2026 12:00:30 +9999999999", 0, id="a zone that no clock has"),
    ],
)
def test_how_long_a_peer_asks_to_be_left_alone(value: str, seconds: float) -> None:
    """Seconds and all three forms of a date are understood; anything else asks for nothing."""
    assert seconds == classify.retry_after(Answer(503, retry_after=value), lambda: NOON)


@pytest.mark.parametrize("outcome", [Answer(503), NoAnswer(Failure.UNREACHABLE, "why")])
def test_who_asks_for_nothing_is_not_left_alone(outcome: Outcome) -> None:
    """No header and no answer are no wish."""
    assert classify.retry_after(outcome) == 0


def test_a_date_is_counted_from_now() -> None:
    """The clock is the machine's unless another one is given."""
    in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert 3500 < classify.retry_after(Answer(503, retry_after=in_an_hour)) <= 3600


@given(
    st.text()
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,6} \d{1,3}:\d{1,3}(:\d{1,3})? [+-]\d{1,12}")
    | st.datetimes().map(lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S GMT"))
)
def test_no_header_does_more_than_ask_for_time(value: str) -> None:
    """Never an exception, never less than nothing, never for ever."""
    assert 0 <= classify.retry_after(Answer(503, retry_after=value)) < float("inf")
