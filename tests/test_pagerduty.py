"""One event sent once to PagerDuty, which takes it by its own rules."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import pytest

from hooks.attempt import Answer, Failure, NoAnswer
from hooks.paging.incident import SYNC_FAILED, Page
from hooks.paging.pagerduty import PagerDuty
from hooks.settings import AlertByPagerDuty
from rehearsal.mock_pagerduty import MockPagerDuty
from tests.conftest import Loading, Serving
from tests.hostile.peer import Request, redirect, reply, silence

KEY = "0123456789abcdef0123456789abcdef"
EVENT_KEY = "argocd-sync/argocd/oms"
ENOUGH = 30.0
"""Seconds that no answer on loopback takes."""


@pytest.fixture
def page(loading: Loading) -> Page:
    """Return what is paged."""
    settings = loading(AlertByPagerDuty, PAGERDUTY_ROUTING_KEY=KEY, ARGOCD_APP_NAME="oms")
    return replace(Page.about(settings, SYNC_FAILED), summary="oms: Argo CD sync failed")


Speaking = Callable[[str], PagerDuty]


@pytest.fixture
async def speaking(loading: Loading) -> AsyncIterator[Speaking]:
    """Speak to whoever is at a URL as to PagerDuty."""
    spoken_to: list[PagerDuty] = []

    def speaking(url: str) -> PagerDuty:
        settings = loading(AlertByPagerDuty, PAGERDUTY_ROUTING_KEY=KEY, PAGERDUTY_EVENTS_URL=url)
        spoken_to.append(PagerDuty(settings, KEY))
        return spoken_to[-1]

    yield speaking
    for pagerduty in spoken_to:
        await pagerduty.aclose()


@pytest.fixture
def mock() -> Iterator[MockPagerDuty]:
    """Serve PagerDuty's rules."""
    with MockPagerDuty() as mock:
        yield mock


async def test_the_same_page_is_one_incident_until_it_is_resolved(
    mock: MockPagerDuty, page: Page, speaking: Speaking
) -> None:
    """However often it is sent, whole or minimal, somebody is called once."""
    pagerduty = speaking(mock.url)

    answers = [
        await pagerduty.trigger(page, ENOUGH),
        await pagerduty.trigger(page, ENOUGH, minimal=True),
    ]

    assert answers == 2 * [Answer(202)]
    incident = mock.incidents[EVENT_KEY]
    assert (incident.status, incident.triggers, incident.opened) == ("open", 2, 1)
    assert [event.document for event in mock.events] == [page.event(), page.event(minimal=True)]

    assert await pagerduty.resolve(page, ENOUGH) == Answer(202)
    assert mock.incidents[EVENT_KEY].status == "resolved"


async def test_what_was_never_opened_may_be_resolved(
    mock: MockPagerDuty, page: Page, speaking: Speaking
) -> None:
    """PagerDuty drops it: nobody has to know whether there is an incident."""
    assert await speaking(mock.url).resolve(page, ENOUGH) == Answer(202)
    assert mock.incidents == {}


def only(requests: list[Request]) -> Request:
    """Return the one request that there was."""
    (request,) = requests
    return request


async def test_the_routing_key_is_in_the_body_alone(page: Page, speaking: Speaking, serving: Serving) -> None:
    """PagerDuty knows no Authorization header, and whoever logs headers learns nothing."""
    peer = serving(reply(202))

    await speaking(f"{peer.url}/v2/enqueue").trigger(page, ENOUGH)

    request = only(peer.requests)
    assert (request.method, request.address) == ("POST", "/v2/enqueue")
    assert request.document == {"routing_key": KEY, **page.event()}
    assert request.header("Content-Type") == "application/json"
    assert request.header("Authorization") is None
    assert KEY not in json.dumps(request.headers)


@pytest.mark.parametrize(
    ("expected", "address"),
    [
        pytest.param("/v2/enqueue?region=eu", "/v2/enqueue?region=eu", id="with a query"),
        pytest.param("/", "", id="without a path"),
        pytest.param(
            "/%E2%98%83?%E2%98%83", "/\N{SNOWMAN}?\N{SNOWMAN}", id="with what no request line holds"
        ),
    ],
)
async def test_a_relay_is_spoken_to_at_its_own_address(
    expected: str, address: str, page: Page, speaking: Speaking, serving: Serving
) -> None:
    """One in the cluster may want a path, a query and a login of its own."""
    peer = serving(reply(202))
    login = peer.url.replace("://", "://us%20er:pa%3Ass@")

    assert await speaking(f"{login}{address}").trigger(page, ENOUGH) == Answer(202)
    request = only(peer.requests)
    assert request.address == expected
    assert request.header("Authorization") == f"Basic {b64encode(b'us er:pa:ss').decode()}"


async def test_a_redirect_is_not_followed(page: Page, speaking: Speaking, serving: Serving) -> None:
    """The key is in the body: nobody else gets it."""
    elsewhere = serving(reply(202))
    peer = serving(redirect(307, elsewhere.url))

    assert await speaking(peer.url).trigger(page, ENOUGH) == Answer(307, b"elsewhere\n")
    assert elsewhere.connections == 0


async def test_an_attempt_ends_when_its_time_does(page: Page, speaking: Speaking, serving: Serving) -> None:
    """What is left of the time bounds an attempt that would have more of its own."""
    peer = serving(silence)

    outcome = await speaking(peer.url).trigger(page, 0.2)

    assert isinstance(outcome, NoAnswer)
    assert (outcome.failure, str(outcome)) == (Failure.TIMED_OUT, "not answered within 0.2 s")
