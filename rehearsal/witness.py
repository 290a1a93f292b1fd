"""Tells what the far ends remember: every change of mode, every refused switch, every event of PagerDuty."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

from rehearsal.beside import beside
from rehearsal.fact import Fact, Tone
from rehearsal.stage import LOOK_SECONDS, STARTUP_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rehearsal.fact import Tell
    from rehearsal.mock_oms import ModeChange, Replica
    from rehearsal.mock_pagerduty import Event, MockPagerDuty
    from rehearsal.stage import Stage

TONES = {"active": Tone.GOOD, "draining": Tone.WARNING, "down": Tone.WARNING}


class Witness:
    """Looks at the stage, again and again, and tells each thing once, with the time at which it happened."""

    def __init__(self, stage: Stage, tell: Tell) -> None:
        self._stage = stage
        self._tell = tell
        self._changes: defaultdict[str, int] = defaultdict(int)
        self._switches: defaultdict[str, int] = defaultdict(int)
        self._healthy: dict[str, bool] = {}
        self._requests = 0
        self._events = 0

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Look until the end, and once more then."""
        async with beside(self._keep_looking()):
            yield
        self.look()

    def look(self) -> None:
        for name, history in self._stage.histories().items():
            self._tell_changes(name, history)
            self._tell_refusals(name, self._stage.replicas[name])
            self._tell_health(name, self._stage.replicas[name], history)
        self._tell_pages()

    async def _keep_looking(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def _tell_changes(self, name: str, history: tuple[ModeChange, ...]) -> None:
        # The first is how it was found.
        changes = list(pairwise(history))
        for before, after in changes[self._changes[name] :]:
            if (before.mode, before.reason) != (after.mode, after.reason):
                tone = TONES.get(after.mode, Tone.PLAIN)
                self._tell(Fact(after.at, name, f"{before.mode} → {after.mode}", _why(before, after), tone))
        self._changes[name] = len(changes)

    def _tell_refusals(self, name: str, replica: Replica) -> None:
        switches = replica.state.switches
        for switch in switches[self._switches[name] :]:
            if switch.status is None:
                break
            self._switches[name] += 1
            if switch.status >= 300:
                wanted = switch.body.get("mode") if isinstance(switch.body, dict) else switch.body
                self._tell(
                    Fact(switch.at, name, f"answers {switch.status}", f"to a switch to {wanted}", Tone.BAD)
                )

    def _tell_health(self, name: str, replica: Replica, history: tuple[ModeChange, ...]) -> None:
        healthy = replica.state.healthy
        if healthy and self._healthy.get(name) is False:
            starts = [after.at for before, after in pairwise(history) if before.mode == "down"]
            at = (starts or [history[0].at])[-1] + STARTUP_SECONDS
            self._tell(Fact(at, name, "is healthy", f"version {replica.state.version}"))
        self._healthy[name] = healthy

    def _tell_pages(self) -> None:
        pagerduty = self._stage.pagerduty
        for request in pagerduty.requests[self._requests :]:
            if request.status is None:
                break
            self._requests += 1
            if request.status != 202:
                self._tell(Fact(request.at, "PagerDuty", f"answers {request.status}", tone=Tone.WARNING))
        for event in pagerduty.events[self._events :]:
            self._events += 1
            self._tell(_page(event, pagerduty))


def _why(before: ModeChange, after: ModeChange) -> str:
    """Say whose doing a change of mode is."""
    if after.mode == "down":
        return f"makes room for version {after.version}"
    if before.mode == "down":
        return f"version {after.version} starts and names nobody"
    if before.mode == after.mode:
        return f"now held by {after.reason}"
    if after.mode == "standby" and before.reason == after.reason:
        return "confirmed"
    return f"asked by {after.reason}" if after.reason else "names nobody"


def _page(event: Event, pagerduty: MockPagerDuty) -> Fact:
    incident = pagerduty.incidents.get(event.document["dedup_key"])
    taken = incident is not None and event.at in {entry.at for entry in incident.history}
    match event.document["event_action"]:
        case "trigger":
            return Fact(
                event.at, "PagerDuty", "calls somebody", event.document["payload"]["summary"], Tone.BAD
            )
        case "resolve" if taken:
            return Fact(event.at, "PagerDuty", "resolves the incident", tone=Tone.GOOD)
        case action:
            return Fact(event.at, "PagerDuty", f"takes a {action}", "no incident is open")
