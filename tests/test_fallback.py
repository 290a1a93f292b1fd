"""The second way of a page: what a webhook is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hooks import redaction
from hooks.attempt import Answer
from hooks.paging.fallback import Fallback, labelled
from hooks.paging.incident import SYNC_FAILED, Page
from hooks.settings import Alert
from rehearsal.mock_pagerduty import MockPagerDuty
from tests.conftest import Loading, Serving
from tests.hostile.peer import redirect, reply

ENOUGH = 30.0
"""Seconds that no answer on loopback takes."""


@pytest.fixture
def settings(loading: Loading) -> Alert:
    """Load what a fallback needs beside its address."""
    return loading(Alert, ARGOCD_APP_NAME="oms", OMS_REASON="argocd-sync")


@pytest.fixture
def page(settings: Alert) -> Page:
    """Return what is paged; its facts hold what JSON has to escape, and what it cannot hold."""
    return replace(
        Page.about(settings, SYNC_FAILED),
        summary='oms: Argo CD sync failed; "oms-1" is in standby: not trading',
        facts=["\N{BANK} \\ \x1b \ud800"],
    )


async def told(settings: Alert, url: str, page: Page, *, ended: bool = False) -> object:
    """Tell a page once; return the outcome."""
    fallback = Fallback(settings, url)
    outcome = await fallback.tell(page, ENOUGH, ended=ended)
    await fallback.aclose()
    return outcome


@pytest.mark.parametrize(("ended", "prefix"), [(False, ""), (True, "Over: ")], ids=["a page", "its end"])
async def test_a_slack_compatible_webhook_takes_it(
    ended: bool,  # noqa: FBT001  # a row of the table
    prefix: str,
    settings: Alert,
    page: Page,
) -> None:
    """It is one text, which begins with the summary."""
    with MockPagerDuty(webhook=True) as mock:
        outcome = await told(settings, mock.webhook_url, page, ended=ended)

    assert outcome == Answer(200)
    (message,) = mock.webhooks
    assert message.text == f"{prefix}{page.text()}"
    assert message.text.startswith(f'{prefix}oms: Argo CD sync failed; "oms-1" is in standby')


async def test_what_is_sent_is_a_text_and_nothing_else(settings: Alert, page: Page, serving: Serving) -> None:
    """A JSON document in UTF-8, to the very address: path and query are the webhook's secret."""
    peer = serving(reply(200, b"ok"))

    await told(settings, f"{peer.url}/services/T0SECRET/B0SECRET?sig=s3cr3t", page)

    (request,) = peer.requests
    assert (request.method, request.address) == ("POST", "/services/T0SECRET/B0SECRET?sig=s3cr3t")
    assert request.header("Content-Type") == "application/json"
    assert request.header("Authorization") is None
    assert list(request.document) == ["text"]
    assert "\N{BANK}".encode() in request.body


async def test_a_redirect_of_a_webhook_is_not_followed(settings: Alert, page: Page, serving: Serving) -> None:
    """Nobody else learns where the OMS stands."""
    elsewhere = serving(reply(200))
    peer = serving(redirect(302, elsewhere.url))

    assert await told(settings, f"{peer.url}/services", page) == Answer(302, b"elsewhere\n")
    assert elsewhere.connections == 0


async def test_the_address_of_a_webhook_is_hidden_wherever_it_was_read(
    settings: Alert, page: Page, serving: Serving
) -> None:
    """A webhook that echoes its own address in an error does not get it into the log."""
    peer = serving(reply(404, b"no such hook: XXXSECRETXXXX of /services/T0/B0/XXXSECRETXXXX"))

    outcome = await told(settings, f"{peer.url}/services/T0/B0/XXXSECRETXXXX?sig=s3cr3t", page)

    assert str(outcome) == f"404 no such hook: {redaction.HIDDEN} of {redaction.HIDDEN}"
    assert redaction.redact("sig=s3cr3t") == redaction.HIDDEN


@pytest.mark.parametrize(
    ("expected", "urls"),
    [
        pytest.param({}, "", id="none"),
        pytest.param({"fallback": "http://a.test/x"}, "http://a.test/x", id="one"),
        pytest.param(
            {"fallback 1 of 2": "http://a.test/x", "fallback 2 of 2": "http://a.test/y?z=1"},
            " http://a.test/x , http://a.test/y?z=1,",
            id="two on one host",
        ),
    ],
)
def test_a_fallback_is_called_by_its_number(expected: dict[str, str], urls: str, loading: Loading) -> None:
    """What it is called in the log and in a reason is no secret, and tells one from another."""
    assert labelled(loading(Alert, ALERT_FALLBACK_URL=urls)) == expected
