"""Known secrets are taken out of whatever comes out."""

import json
from base64 import b64encode
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks import redaction
from hooks.redaction import HIDDEN, redact

SECRET = "s3cr3t-Zx81"
WEBHOOK = "https://hooks.example.com/services/T0123456789/B0/abcdefgh?signature=xyz"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def test_nothing_is_changed_while_there_is_no_secret() -> None:
    """A process without secrets says what it says."""
    value = {"a": ["b", ("c",)]}
    assert value is redact(value)


@pytest.mark.parametrize(
    ("value", "redacted"),
    [
        pytest.param(SECRET, HIDDEN, id="the secret itself"),
        pytest.param(f"<{SECRET}|{SECRET}>", f"<{HIDDEN}|{HIDDEN}>", id="twice within a text"),
        pytest.param({SECRET: SECRET}, {HIDDEN: HIDDEN}, id="as name and as value"),
        pytest.param([{"a": (SECRET, 1)}], [{"a": [HIDDEN, 1]}], id="deep within"),
        pytest.param(1, 1, id="a number"),
        pytest.param(None, None, id="nothing"),
        pytest.param("s3cr3t", "s3cr3t", id="a part of the secret"),
    ],
)
def test_a_known_secret_is_replaced_wherever_it_stands(value: Any, redacted: Any) -> None:
    """Names, values, lists and tuples are gone through; the rest stays."""
    redaction.hide(SECRET, None, "")
    assert redacted == redact(value)


@given(secrets=st.lists(TEXTS, min_size=1), before=TEXTS, after=TEXTS)
def test_no_secret_survives_whatever_it_is_made_of(secrets: list[str], before: str, after: str) -> None:
    """Not as it is, and not as it reads within a document that is quoted as JSON."""
    redaction.forget_all()
    redaction.hide(*secrets)
    for secret in secrets:
        echo = f"{before}{secret}{after}"
        assert not _survives(secret, redact(echo))
        assert not _survives(json.dumps(secret)[1:-1], redact(json.dumps({"echo": echo})))


def _survives(secret: str, text: str) -> bool:
    return any(secret in part for part in text.split(HIDDEN))


def test_the_longer_of_two_secrets_goes_first() -> None:
    """A secret that begins with another one leaves no tail behind."""
    redaction.hide("abc", "abcdef")
    assert redact("abcdef") == HIDDEN


def test_a_secret_that_is_in_the_mark_leaves_the_mark_whole() -> None:
    """What stands in for a secret is not gone through again."""
    redaction.hide("a", "redacted", "[")
    assert redact("[b]") == f"{HIDDEN}b]"


def test_what_was_forgotten_comes_out_again() -> None:
    """A process that plays several commands starts anew with each."""
    redaction.hide(SECRET)
    redaction.forget_all()
    assert redact(SECRET) == SECRET


@pytest.mark.parametrize(
    ("said", "redacted"),
    [
        pytest.param("ada:p%40ss", HIDDEN, id="the user info as it is written"),
        pytest.param("ada:p@ss", HIDDEN, id="the user info as it is meant"),
        pytest.param("p%40ss", HIDDEN, id="the password as it is written"),
        pytest.param("p@ss", HIDDEN, id="the password as it is meant"),
        pytest.param(f"Basic {b64encode(b'ada:p@ss').decode()}", f"Basic {HIDDEN}", id="the header"),
        pytest.param("token=xyz&b=1", HIDDEN, id="the query"),
        pytest.param("https://oms.example.com/base", "https://oms.example.com/base", id="host and path stay"),
    ],
)
def test_of_a_url_user_info_and_query_are_hidden(said: str, redacted: str) -> None:
    """A base address may be told; how one is let in may not."""
    redaction.hide_url("https://ada:p%40ss@oms.example.com/base?token=xyz&b=1", path=False)
    assert redacted == redact(said)


@pytest.mark.parametrize(
    ("said", "redacted"),
    [
        pytest.param(WEBHOOK, HIDDEN, id="whole"),
        pytest.param("POST /services/T0123456789/B0/abcdefgh", f"POST {HIDDEN}", id="the path"),
        pytest.param("services/T0123456789/B0/abcdefgh", HIDDEN, id="the path without its slash"),
        pytest.param("bad token abcdefgh", f"bad token {HIDDEN}", id="its last part"),
        pytest.param("no team T0123456789", "no team T0123456789", id="a part before that stays"),
        pytest.param("signature=xyz", HIDDEN, id="the query"),
        pytest.param("hooks.example.com", "hooks.example.com", id="the host stays"),
    ],
)
def test_of_a_webhook_the_path_is_hidden_as_well(said: str, redacted: str) -> None:
    """A peer may echo any part of it in its error body."""
    redaction.hide_url(WEBHOOK, path=True)
    assert redacted == redact(said)


def test_the_last_part_of_a_webhook_is_hidden_alone_only_if_it_is_long() -> None:
    """A short one may be a word that people use."""
    redaction.hide_url("https://hooks.example.com/services/alerts/", path=True)
    assert redact("two alerts at services/alerts") == f"two alerts at {HIDDEN}"


@pytest.mark.parametrize("url", ["https://hooks.example.com", "https://hooks.example.com/"])
def test_a_webhook_without_a_path_hides_nothing(url: str) -> None:
    """A host is no secret, nor is a slash."""
    redaction.hide_url(url, path=True)
    assert redact("https://hooks.example.com/a") == "https://hooks.example.com/a"


def test_a_url_that_cannot_be_read_is_hidden_whole() -> None:
    """What cannot be taken apart may be a secret in any part."""
    redaction.hide_url("https://ada:secret@[::1", path=False)
    assert redact("https://ada:secret@[::1") == HIDDEN


@given(user=TEXTS, password=TEXTS)
def test_no_user_info_survives_in_any_spelling(user: str, password: str) -> None:
    """Percent-encoded or not."""
    redaction.forget_all()
    redaction.hide_url(f"http://{quote(user, safe='')}:{quote(password, safe='')}@h/", path=False)
    for spelling in (password, quote(password, safe="")):
        assert not _survives(spelling, redact(f"{user}:{spelling}"))
