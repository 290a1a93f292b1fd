"""Mode and health as an OMS tells them, and whose standby it is."""

import functools
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hooks import settings, strict_json
from hooks.attempt import Answer, Failure, NoAnswer, Outcome
from hooks.expression import Expression
from hooks.oms.documents import Documents, HealthLook, Look, Mode, Ownership, State, since
from tests.test_strict_json import DOCUMENTS

ASKED_AT = 7.0


@functools.cache
def read(**variables: str) -> settings.Oms:
    """Return settings made of these variables."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"OMS_URL": "http://oms", **variables}.items():
            patch.setenv(name, value)
        return settings.load(settings.Verification)


def mode(outcome: Outcome, **variables: str) -> Look:
    return Documents(read(**variables)).mode(ASKED_AT, outcome)


def health(outcome: Outcome, **variables: str) -> HealthLook:
    return Documents(read(**variables)).health(outcome)


def told(document: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(document).encode())


# Mode


@pytest.mark.parametrize(
    ("document", "state", "owner"),
    [
        pytest.param({"mode": "active", "reason": None}, State.ACTIVE, None, id="active"),
        pytest.param(
            {"mode": "active", "reason": "sync/7"}, State.ACTIVE, "sync/7", id="active again, and by whom"
        ),
        pytest.param({"mode": "standby", "reason": "sync/7"}, State.STANDBY, "sync/7", id="in standby"),
        pytest.param({"mode": "standby"}, State.STANDBY, None, id="in standby without a reason"),
        pytest.param(
            {"mode": "standby", "reason": ""}, State.STANDBY, None, id="in standby for an empty reason"
        ),
        pytest.param({"mode": "standby", "reason": 7}, State.STANDBY, "7", id="a number for a reason"),
        pytest.param(
            {"mode": "standby", "reason": False}, State.STANDBY, "false", id="a boolean for a reason"
        ),
        pytest.param(
            {"mode": "standby", "reason": {"by": "ä"}}, State.STANDBY, '{"by":"ä"}', id="an object for one"
        ),
        pytest.param({"mode": "draining"}, State.OTHER, None, id="draining"),
        pytest.param({"mode": "STANDBY"}, State.OTHER, None, id="in upper case"),
        pytest.param({"mode": True}, State.OTHER, None, id="a boolean for a mode"),
        pytest.param({"mode": ["standby"]}, State.OTHER, None, id="a list of modes"),
        pytest.param({"state": "standby"}, State.OTHER, None, id="another name for it"),
        pytest.param({}, State.OTHER, None, id="nothing in it"),
        pytest.param(None, State.OTHER, None, id="null"),
    ],
)
def test_a_mode_document_is_judged(document: Any, state: State, owner: str | None) -> None:
    """What is neither standby nor active, by the letter, is something else."""
    text = strict_json.dump(document)
    assert Look(ASKED_AT, Mode(state, owner, document), text=text) == mode(told(document))


@pytest.mark.parametrize("document", ["standby", 7, True, ["standby"]])
def test_a_document_that_cannot_name_an_owner_is_no_mode(document: Any) -> None:
    """Whose it is must be known before anything is done."""
    look = mode(told(document))
    assert (None, json.dumps(document)) == (look.mode, look.text)
    assert str(look.problem).startswith("its owner cannot be told: Cannot index ")


@pytest.mark.parametrize("owner", [".reason, .by", "empty", 'error("no idea")'])
def test_an_owner_filter_that_gives_no_one_name_is_no_mode(owner: str) -> None:
    """Several names are none, and so is an error."""
    look = mode(told({"mode": "standby", "reason": "a", "by": "b"}), OMS_OWNER_FILTER=owner)
    assert look.mode is None
    assert str(look.problem).startswith("its owner cannot be told: ")


@pytest.mark.parametrize(
    ("standby", "active", "state"),
    [
        pytest.param('.state == "passive"', '.state == "live"', State.STANDBY, id="an OMS of other words"),
        pytest.param("true", "true", State.OTHER, id="both at once"),
        pytest.param("false", "false", State.OTHER, id="neither"),
        pytest.param("error", "true", State.ACTIVE, id="an error is a no"),
        pytest.param("true", "error", State.STANDBY, id="an error of the other is a no"),
        pytest.param("true, true", "error", State.OTHER, id="two yeses are no yes"),
        pytest.param("1", '"true"', State.OTHER, id="what is not true is not true"),
    ],
)
def test_the_conditions_of_the_settings_decide(standby: str, active: str, state: State) -> None:
    """And both at once is a document that nobody understands."""
    conditions = {"OMS_STANDBY_CONDITION": standby, "OMS_ACTIVE_CONDITION": active}
    look = mode(told({"state": "passive"}), **conditions)
    assert look.mode is not None
    assert state is look.mode.state


@pytest.mark.parametrize(
    ("outcome", "look"),
    [
        pytest.param(
            NoAnswer(Failure.TIMED_OUT, "not answered within 5 s"),
            Look(ASKED_AT, None, "not answered within 5 s", failure=Failure.TIMED_OUT),
            id="no answer",
        ),
        pytest.param(
            NoAnswer(Failure.UNKNOWN_NAME, "its name is not resolved"),
            Look(ASKED_AT, None, "its name is not resolved", failure=Failure.UNKNOWN_NAME),
            id="no such name",
        ),
        pytest.param(
            NoAnswer(Failure.UNTRUSTED, "its certificate does not verify"),
            Look(ASKED_AT, None, "its certificate does not verify", refused=True, failure=Failure.UNTRUSTED),
            id="a certificate that does not verify",
        ),
        pytest.param(
            Answer(401, b"who are you?"),
            Look(ASKED_AT, None, "answered 401 who are you?", refused=True),
            id="401",
        ),
        pytest.param(Answer(403), Look(ASKED_AT, None, "answered 403", refused=True), id="403"),
        pytest.param(Answer(404, b"no"), Look(ASKED_AT, None, "answered 404 no"), id="404"),
        pytest.param(
            told({"mode": "standby"}, 503),
            Look(ASKED_AT, None, 'answered 503 {"mode": "standby"}'),
            id="503 in JSON",
        ),
        pytest.param(Answer(302), Look(ASKED_AT, None, "answered 302"), id="a redirect"),
        pytest.param(
            Answer(503, b"x", fault="longer than 1 bytes"),
            Look(ASKED_AT, None, "answered 503 x"),
            id="503 at length",
        ),
        pytest.param(
            Answer(200, b'{"mode":"standby"}', fault="longer than 10 bytes"),
            Look(ASKED_AT, None, "answered 200, its body unreadable: longer than 10 bytes"),
            id="a body that is too long",
        ),
        pytest.param(
            Answer(204),
            Look(
                ASKED_AT, None, "answered 204, which cannot be read: not JSON (Expecting value at position 0)"
            ),
            id="no body",
        ),
        pytest.param(
            Answer(200, b"<html>"),
            Look(
                ASKED_AT,
                None,
                "answered 200 <html>, which cannot be read: not JSON (Expecting value at position 0)",
            ),
            id="a page of the web",
        ),
        pytest.param(
            Answer(200, b'{"mode":"standby","mode":"standby"}'),
            Look(
                ASKED_AT,
                None,
                'answered 200 {"mode":"standby","mode":"standby"}, which cannot be read:'
                " not JSON (a name stands twice in one object)",
            ),
            id="a name twice",
        ),
    ],
)
def test_what_is_no_mode_says_why(outcome: Outcome, look: Look) -> None:
    """And whether we were turned away."""
    assert look == mode(outcome)


@pytest.mark.parametrize(
    ("mode", "word", "text"),
    [
        (Mode(State.ACTIVE, None, {"mode": "active"}), "active", "active"),
        (Mode(State.ACTIVE, "sync/7", {"mode": "active"}), "active", "active"),
        (Mode(State.STANDBY, "sync/7", {"mode": "passive"}), "standby", "standby (sync/7)"),
        (Mode(State.STANDBY, None, {}), "standby", "standby"),
        (Mode(State.OTHER, "sync/7", {"mode": "draining"}), "draining", "draining (sync/7)"),
        (Mode(State.OTHER, None, {"mode": "x" * 40}), "x" * 32, "x" * 32),
        (Mode(State.OTHER, None, {"mode": ""}), "other", "other"),
        (Mode(State.OTHER, None, {"mode": 7}), "other", "other"),
        (Mode(State.OTHER, None, {}), "other", "other"),
        (Mode(State.OTHER, None, ["mode"]), "other", "other"),
    ],
)
def test_a_mode_is_called_by_the_word_of_the_oms_where_we_have_none(mode: Mode, word: str, text: str) -> None:
    """And who holds it is told, unless it trades."""
    assert (word, text) == (mode.word, str(mode))


@given(DOCUMENTS)
@example({"mode": "standby", "reason": "\ud800"})
def test_no_document_of_any_shape_is_a_standby_that_is_none(document: Any) -> None:
    """Unknown is never a yes, and nothing raises."""
    look = mode(told(document))
    named = document.get("mode") if isinstance(document, dict) else None
    state = {"standby": State.STANDBY, "active": State.ACTIVE}.get(named if isinstance(named, str) else "")
    assert state is (look.mode.state if look.mode and look.mode.state is not State.OTHER else None)


@given(st.integers(100, 599), st.binary(), st.none() | st.just("broke off"))
def test_no_answer_of_any_kind_raises(status: int, body: bytes, fault: str | None) -> None:
    """Nor does it confirm anything outside 2xx."""
    answer = Answer(status, body, fault=fault)
    look, healthy = mode(answer), health(answer)
    assert look.mode is None or (answer.ok and fault is None)
    assert (look.problem is None) is (look.mode is not None)
    assert healthy.problem is not None or (answer.ok and fault is None)


# Health

HEALTHY = {"status": "healthy"}
IS_HEALTHY = Expression('.status == "healthy"')


@pytest.mark.parametrize(
    ("outcome", "look"),
    [
        pytest.param(told(HEALTHY), HealthLook(None, 200, HEALTHY, '{"status":"healthy"}'), id="a document"),
        pytest.param(
            told(HEALTHY, 503),
            HealthLook('answered 503 {"status": "healthy"}', 503, HEALTHY, '{"status":"healthy"}'),
            id="a document of a 503",
        ),
        pytest.param(
            told(None, 403),
            HealthLook("answered 403 null", 403, None, "null", refused=True),
            id="null of a 403",
        ),
        pytest.param(Answer(401, b"no"), HealthLook("answered 401 no", 401, refused=True), id="401"),
        pytest.param(Answer(503, b"no"), HealthLook("answered 503 no", 503), id="503"),
        pytest.param(
            Answer(200, b"{", fault="broke off"),
            HealthLook("answered 200, its body unreadable: broke off", 200),
            id="half a body",
        ),
        pytest.param(
            Answer(200, b"ok"),
            HealthLook(
                "answered 200 ok, which cannot be read: not JSON (Expecting value at position 0)", 200
            ),
            id="no JSON",
        ),
        pytest.param(NoAnswer(Failure.BROKEN, "why"), HealthLook("why"), id="no answer"),
        pytest.param(
            NoAnswer(Failure.UNTRUSTED, "why"),
            HealthLook("why", untrusted=True),
            id="a certificate that does not verify",
        ),
    ],
)
def test_a_health_document_is_kept_whatever_its_status(outcome: Outcome, look: HealthLook) -> None:
    """With what is wrong with it."""
    assert look == health(outcome)


@pytest.mark.parametrize(
    ("outcome", "meets", "shows"),
    [
        pytest.param(told(HEALTHY), True, True, id="healthy"),
        pytest.param(told({"status": "starting"}), False, False, id="not yet"),
        pytest.param(told(HEALTHY, 503), False, True, id="healthy, but a 503"),
        pytest.param(told("healthy"), False, False, id="a document of another shape"),
        pytest.param(Answer(200, b'{"status":"healthy"}', fault="broke off"), False, False, id="broken off"),
        pytest.param(NoAnswer(Failure.BROKEN, "why"), False, False, id="no answer"),
    ],
)
def test_only_a_2xx_meets_a_condition_and_any_document_shows_one(
    outcome: Outcome,
    meets: bool,  # noqa: FBT001
    shows: bool,  # noqa: FBT001
) -> None:
    """Verified is asked of the first, hopeless of the second."""
    look = health(outcome)
    assert (meets, shows, False) == (look.meets(IS_HEALTHY), look.shows(IS_HEALTHY), look.shows(None))


# Whose standby it is


@pytest.mark.parametrize(
    ("owner", "ours", "foreign"),
    [
        ("argocd-sync", True, False),
        ("argocd-sync/7", True, False),
        ("argocd-sync/7/8", True, False),
        ("argocd-sync/", True, False),
        ("argocd-sync-other", False, True),
        ("argocd-sync-other/7", False, True),
        ("Argocd-Sync", False, True),
        ("ada", False, True),
        (" argocd-sync", False, True),
        (None, True, False),
    ],
)
def test_ours_is_our_name_and_everything_under_it(owner: str | None, ours: bool, foreign: bool) -> None:  # noqa: FBT001
    """Nobody is not somebody else."""
    ownership = Ownership("argocd-sync", "7", unnamed_is_ours=True)
    assert (ours, foreign) == (ownership.is_ours(owner), ownership.is_foreign(owner))


def test_what_names_nobody_may_be_nobodys() -> None:
    """Neither ours nor somebody else's."""
    ownership = Ownership("argocd-sync", None, unnamed_is_ours=False)
    assert (False, False) == (ownership.is_ours(None), ownership.is_foreign(None))


@given(owner=st.text(min_size=1), reason=st.text(min_size=1))
def test_whoever_is_named_is_us_or_somebody_else(owner: str, reason: str) -> None:
    """Never both, never neither."""
    ownership = Ownership(reason, None, unnamed_is_ours=True)
    assert ownership.is_ours(owner) is not ownership.is_foreign(owner)
    assert ownership.is_ours(f"{reason}/{owner}")


def test_ownership_is_read_from_the_settings() -> None:
    """Our name is the one that a switch tells."""
    variables = {"OMS_REASON": "deploy", "HOOK_RUN_ID": "b7", "OMS_UNNAMED_IS_OURS": "false"}
    ownership = Ownership.of(read(**variables))
    assert Ownership("deploy", "b7", unnamed_is_ours=False) == ownership
    assert ("deploy/b7", "argocd-sync") == (ownership.mine, Ownership.of(read()).mine)


# Since when

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        pytest.param("2026-01-01T12:00:00Z", NOON, id="RFC 3339"),
        pytest.param("2026-01-01t12:00:00z", NOON, id="in lower case"),
        pytest.param("2026-01-01 12:00:00Z", NOON, id="with a space"),
        pytest.param(" 2026-01-01T12:00:00Z\n", NOON, id="within white space"),
        pytest.param(
            "2026-01-01T13:00:00+01:00", NOON.astimezone(timezone(timedelta(hours=1))), id="elsewhere"
        ),
        pytest.param("2026-01-01T12:00:00.5Z", NOON + timedelta(seconds=0.5), id="a fraction"),
        pytest.param(
            "2026-01-01T12:00:00.123456789Z", NOON + timedelta(microseconds=123456), id="nanoseconds"
        ),
        pytest.param(1767268800, NOON, id="Unix seconds"),
        pytest.param(1767268800.5, NOON + timedelta(seconds=0.5), id="a fraction of them"),
        pytest.param("2026-01-01T12:00:00", None, id="without a zone"),
        pytest.param("2026-01-01", None, id="a day"),
        pytest.param("2026-02-31T12:00:00Z", None, id="a day that no month has"),
        pytest.param("1767268800", None, id="Unix seconds as text"),
        pytest.param("noon", None, id="a word"),
        pytest.param("", None, id="an empty text"),
        pytest.param(None, None, id="null"),
        pytest.param(True, None, id="a boolean"),
        pytest.param([1767268800], None, id="a list"),
        pytest.param(1e30, None, id="beyond any calendar"),
        pytest.param(-1e30, None, id="before any calendar"),
        pytest.param(10**400, None, id="beyond any number"),
    ],
)
def test_since_when_is_told_or_not(value: Any, moment: datetime | None) -> None:
    """RFC 3339 or Unix seconds; anything else tells nothing."""
    assert moment == since(Expression(".since"), {"since": value})


@pytest.mark.parametrize("text", ["empty", ".since, .since", "error", ".since.at"])
def test_a_filter_that_gives_no_one_moment_tells_nothing(text: str) -> None:
    """Nor does it raise."""
    assert since(Expression(text), {"since": "2026-01-01T12:00:00Z"}) is None


@given(DOCUMENTS | st.datetimes().map(str) | st.floats(allow_nan=False, allow_infinity=False))
def test_since_never_raises_and_always_has_a_zone(value: Any) -> None:
    """Whatever an OMS tells."""
    moment = since(Expression("."), value)
    assert moment is None or moment.tzinfo is not None
