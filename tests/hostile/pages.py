"""syncfail-alert against a PagerDuty and a fallback that behave as told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tests.hostile.environment import APPLICATION, PATIENT, given
from tests.hostile.peer import Behaviour, Peer, Request, reply, silence
from tests.hostile.process import FALLBACK_PATH, ROUTING_KEY, Ending, run

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENT = "POST /v2/enqueue"
MESSAGE = f"POST {FALLBACK_PATH}"

DELIVERED = reply(202, b'{"status": "success"}')


class Paged(NamedTuple):
    """How syncfail-alert ended, and what PagerDuty and the fallback were told."""

    ending: Ending
    events: list[Request]
    messages: list[Request]


def alert(
    pagerduty: Behaviour,
    fallback: Behaviour | None = None,
    *oms: Peer,
    times: Mapping[str, str] = PATIENT,
    **settings: str,
) -> Paged:
    """Play syncfail-alert with these answers to an event, and to a message if there is a fallback."""
    with Peer(pagerduty) as first, Peer(fallback or silence) as second:
        told = second if fallback else None
        environment = given(*oms, pagerduty=first, fallback=told, times=times, **settings)
        ending = run("syncfail-alert", environment, within=15)
        return Paged(ending, first.asked(EVENT), second.asked(MESSAGE))


def trigger(request: Request) -> dict[str, Any]:
    """Return an event's document, held to what PagerDuty demands of every event."""
    event = request.document
    assert isinstance(event, dict)
    assert event["routing_key"] == ROUTING_KEY
    assert event["event_action"] == "trigger"
    assert APPLICATION in event["dedup_key"]
    assert 0 < len(event["dedup_key"]) <= 255
    payload = event["payload"]
    assert {"summary", "source", "severity"} <= payload.keys()
    assert 0 < len(payload["summary"]) <= 1024
    assert len(request.body) <= 512_000
    return event
