"""PagerDuty's Events API v2 for rehearsals, with its validation; on demand a Slack-compatible webhook beside it.

    POST /v2/enqueue           202 {"status": "success", "message": "Event processed", "dedup_key": …}
                               400 {"status": "invalid event", "message": "Event object is invalid", "errors": […]}
    POST /webhook/<any>        with --webhook: {"text": …} is answered 200 ok, anything else 400 invalid_payload

What it was told, and bad luck:

    GET  /mock/incidents       by dedup key: open, acknowledged or resolved, triggers, last summary, history
    GET  /mock/events          every event that was accepted, without its routing key
    GET  /mock/webhooks        every message that the webhook accepted
    GET  /mock/requests        every attempt at either: when, where, answered with what
    POST /mock/faults          replaces the faults of /v2/enqueue; {} switches all off
    POST /mock/webhook-faults  replaces those of the webhook

      status        answer with this status and process nothing
      body          the text of that answer
      retry_after   the Retry-After of that answer
      hang_seconds  process and answer so much later, whether or not anybody still waits
      reset         true: the connection is reset, nothing is processed
      drop_answer   true: it is processed, and the connection closed without an answer
      count         for so many requests; absent: until they are replaced

As at PagerDuty, an acknowledge or a resolve without an open incident under the same routing key is accepted and
dropped, and a trigger after a resolve opens anew. When ready, the address is one JSON line on stdout. SIGTERM ends it
at once.
"""

import argparse
import dataclasses
import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from rehearsal.mock_oms import (
    HANG_UP,
    RESET,
    Answer,
    Listener,
    Question,
    Received,
    call_with,
    host_and_port,
    require_within,
    serve_until_told_to_end,
)

Action = Literal["trigger", "acknowledge", "resolve"]
Status = Literal["open", "acknowledged", "resolved"]

ENQUEUE_PATH = "/v2/enqueue"
WEBHOOK_PATH = "/webhook/"

# https://developer.pagerduty.com/docs/events-api-v2-overview and .../send-alert-event
LARGEST_EVENT_BYTES = 512_000
LONGEST_SUMMARY = 1024
LONGEST_DEDUP_KEY = 255
ROUTING_KEY_LENGTH = 32
ACTIONS = ("trigger", "acknowledge", "resolve")
SEVERITIES = ("critical", "warning", "error", "info")


def errors_in(event: Any) -> list[str]:
    """Say what PagerDuty would hold against an event; nothing where it would accept it."""
    if not isinstance(event, dict):
        return ["the event is not a JSON object"]
    return [
        *_errors_in_routing_key(event.get("routing_key")),
        *_errors_in_choice("event_action", event.get("event_action"), ACTIONS),
        *_errors_in_dedup_key(event.get("dedup_key"), event.get("event_action")),
        *(_errors_in_payload(event.get("payload")) if event.get("event_action") == "trigger" else ()),
        *_errors_in_texts("", event, ("client", "client_url")),
        *_errors_in_list("links", event.get("links"), "href", ""),
        *_errors_in_list("images", event.get("images"), "src", "https://"),
    ]


def _errors_in_routing_key(key: Any) -> list[str]:
    if _is_blank(key):
        return ["'routing_key' is missing or blank"]
    errors = []
    if len(str(key)) != ROUTING_KEY_LENGTH:
        errors.append(f"Length of 'routing_key' is incorrect (should be {ROUTING_KEY_LENGTH} characters)")
    if not (isinstance(key, str) and key.isascii() and key.isalnum()):
        errors.append("'routing_key' cannot contain non-alphanumeric characters.")
    return errors


def _errors_in_dedup_key(key: Any, action: Any) -> list[str]:
    if _is_blank(key):
        return [] if action == "trigger" else ["'dedup_key' is missing or blank"]
    return _errors_in_length("dedup_key", key, LONGEST_DEDUP_KEY)


def _errors_in_payload(payload: Any) -> list[str]:
    if not isinstance(payload, dict):
        return ["'payload' is missing or blank"]
    details = payload.get("custom_details")
    return [
        *_errors_in_length("payload.summary", payload.get("summary"), LONGEST_SUMMARY),
        *_errors_in_length("payload.source", payload.get("source"), math.inf),
        *_errors_in_choice("payload.severity", payload.get("severity"), SEVERITIES),
        *_errors_in_texts("payload.", payload, ("timestamp", "component", "group", "class")),
        *([] if isinstance(details, dict | None) else ["'payload.custom_details' is not an object"]),
    ]


def _errors_in_length(name: str, value: Any, most: float) -> list[str]:
    if _is_blank(value):
        return [f"'{name}' is missing or blank"]
    if not isinstance(value, str):
        return [f"'{name}' is not a string"]
    return [f"'{name}' is too long (maximum is {most} characters)"] if len(value) > most else []


def _errors_in_choice(name: str, value: Any, choices: tuple[str, ...]) -> list[str]:
    if _is_blank(value):
        return [f"'{name}' is missing or blank"]
    if value in choices:
        return []
    listed = ", ".join(f"'{choice}'" for choice in choices[:-1])
    return [f"'{name}' is invalid (must be one of the following: {listed} or '{choices[-1]}')"]


def _errors_in_texts(prefix: str, holder: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    return [
        f"'{prefix}{name}' is not a string" for name in names if not isinstance(holder.get(name), str | None)
    ]


def _errors_in_list(name: str, entries: Any, needed: str, scheme: str) -> list[str]:
    if entries is None:
        return []
    if not isinstance(entries, list):
        return [f"'{name}' is not a list"]
    errors = []
    for number, entry in enumerate(entries):
        value = entry.get(needed) if isinstance(entry, dict) else None
        if _is_blank(value):
            errors.append(f"'{name}[{number}].{needed}' is missing or blank")
        elif not str(value).startswith(scheme):
            errors.append(f"'{name}[{number}].{needed}' does not begin with {scheme}")
    return errors


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFaults:
    """What is wrong with /v2/enqueue or the webhook; the module's text says what each does."""

    status: int | None = None
    body: str = "a fault was switched on"
    retry_after: str | None = None
    hang_seconds: float = 0.0
    reset: bool = False
    drop_answer: bool = False
    count: int | None = None

    def __post_init__(self) -> None:
        """Raise ValueError on what cannot be played."""
        require_within(200, 599, status=self.status)
        require_within(0, 86400, hang_seconds=self.hang_seconds)
        require_within(1, math.inf, count=self.count)

    def after_one(self) -> "DeliveryFaults":
        """Tell what is left after one more request."""
        if self.count is None:
            return self
        return dataclasses.replace(self, count=self.count - 1) if self.count > 1 else DeliveryFaults()

    def answer(self) -> Answer | None:
        """Give the answer that takes the place of processing, if there is one."""
        if self.reset:
            return RESET
        if self.status is None:
            return None
        return Answer(
            self.status, self.body, {} if self.retry_after is None else {"Retry-After": self.retry_after}
        )


@dataclass(frozen=True, slots=True)
class Event:
    """An event that was accepted."""

    at: float
    """Unix seconds."""
    document: dict[str, Any]
    """As it was sent, but without the routing key; with the dedup key that PagerDuty chose where it had none."""


@dataclass(frozen=True, slots=True)
class IncidentEntry:
    """One event that this incident took."""

    at: float
    """Unix seconds."""
    action: Action
    summary: str | None
    """What it said; None where a resolve or an acknowledge said nothing."""


@dataclass(frozen=True, slots=True)
class Incident:
    """All that happened under one dedup key."""

    dedup_key: str
    status: Status
    triggers: int
    """Events that asked for it, repeated ones included."""
    opened: int
    """How often somebody was called: triggers that found no open incident."""
    summary: str
    """Of the last trigger."""
    history: tuple[IncidentEntry, ...]


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """A message that the webhook accepted."""

    at: float
    """Unix seconds."""
    path: str
    text: str


class MockPagerDuty:
    """
    PagerDuty and, if wanted, the fallback, as a context manager.

        with MockPagerDuty(webhook=True) as pagerduty:
            run(PAGERDUTY_EVENTS_URL=pagerduty.url, ALERT_FALLBACK_URL=pagerduty.webhook_url)
            pagerduty.incidents["argocd-sync/argocd/oms"].status
            pagerduty.faults = DeliveryFaults(status=503, count=3)
    """

    def __init__(
        self, *, listen: str = "127.0.0.1:0", webhook: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        """Prepare; it listens once the context is entered. Raises ValueError where `listen` is no HOST:PORT."""
        self._wanted = host_and_port(listen)
        self._webhook = webhook
        self._clock = clock
        self._lock = threading.RLock()
        self._faults = DeliveryFaults()
        self._webhook_faults = DeliveryFaults()
        self._incidents: dict[tuple[str, str], Incident] = {}
        self._events: list[Event] = []
        self._webhooks: list[WebhookMessage] = []
        self._requests: list[Received] = []

    def __enter__(self) -> Self:
        """Listen. Raises OSError where the address cannot be listened on."""
        self._listener = Listener(self._wanted, self._respond)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return self._listener.address

    @property
    def url(self) -> str:
        """What `PAGERDUTY_EVENTS_URL` takes."""
        return f"http://{self.address}{ENQUEUE_PATH}"

    @property
    def webhook_url(self) -> str:
        """What `ALERT_FALLBACK_URL` takes; any other path under /webhook/ does as well."""
        return f"http://{self.address}{WEBHOOK_PATH}on-call"

    @property
    def incidents(self) -> dict[str, Incident]:
        """By dedup key; where several routing keys used the same, the one that was last new."""
        with self._lock:
            return {dedup_key: incident for (_, dedup_key), incident in self._incidents.items()}

    @property
    def events(self) -> tuple[Event, ...]:
        """Every event that was accepted, in the order in which they came."""
        with self._lock:
            return tuple(self._events)

    @property
    def webhooks(self) -> tuple[WebhookMessage, ...]:
        """Every message that the webhook accepted, in the order in which they came."""
        with self._lock:
            return tuple(self._webhooks)

    @property
    def requests(self) -> tuple[Received, ...]:
        """Every attempt at PagerDuty or the webhook (none of /mock/), in the order in which they came."""
        with self._lock:
            return tuple(self._requests)

    @property
    def faults(self) -> DeliveryFaults:
        """What is wrong with /v2/enqueue now; assign to replace all of it (`DeliveryFaults()` for nothing)."""
        with self._lock:
            return self._faults

    @faults.setter
    def faults(self, faults: DeliveryFaults) -> None:
        with self._lock:
            self._faults = faults

    @property
    def webhook_faults(self) -> DeliveryFaults:
        """The same for the webhook."""
        with self._lock:
            return self._webhook_faults

    @webhook_faults.setter
    def webhook_faults(self, faults: DeliveryFaults) -> None:
        with self._lock:
            self._webhook_faults = faults

    def _respond(self, question: Question) -> Answer:
        if question.path.startswith("/mock/"):
            return self._control(question)
        received = Received(self._clock(), question.method, question.path)
        with self._lock:
            self._requests.append(received)
        answer = self._answer(question)
        received.status = answer.status
        return answer

    def _answer(self, question: Question) -> Answer:
        to_webhook = self._webhook and question.path.startswith(WEBHOOK_PATH)
        if not to_webhook and question.path != ENQUEUE_PATH:
            return Answer(404, {"error": f"there is no {question.path}"})
        if question.method != "POST":
            return Answer(405, {"error": f"not with {question.method}"})
        faults = self._struck_by(to_webhook=to_webhook)
        if question.closing.wait(faults.hang_seconds):
            return HANG_UP
        if instead := faults.answer():
            return instead
        answer = self._post(question) if to_webhook else self._enqueue(question)
        return HANG_UP if faults.drop_answer else answer

    def _struck_by(self, *, to_webhook: bool) -> DeliveryFaults:
        with self._lock:
            if to_webhook:
                faults, self._webhook_faults = self._webhook_faults, self._webhook_faults.after_one()
            else:
                faults, self._faults = self._faults, self._faults.after_one()
        return faults

    def _enqueue(self, question: Question) -> Answer:
        if len(question.body) > LARGEST_EVENT_BYTES:
            return _invalid([f"the event is larger than {LARGEST_EVENT_BYTES} bytes"])
        try:
            event = question.json()
        except ValueError as error:
            return _invalid([f"the event is not JSON: {error}"])
        if errors := errors_in(event):
            return _invalid(errors)
        dedup_key = event.get("dedup_key") or uuid.uuid4().hex
        self._take(event.pop("routing_key"), dedup_key, event)
        return Answer(202, {"status": "success", "message": "Event processed", "dedup_key": dedup_key})

    def _take(self, routing_key: str, dedup_key: str, event: dict[str, Any]) -> None:
        now = self._clock()
        action: Action = event["event_action"]
        with self._lock:
            self._events.append(Event(now, {**event, "dedup_key": dedup_key}))
            nothing_yet = Incident(dedup_key, "resolved", triggers=0, opened=0, summary="", history=())
            before = self._incidents.get((routing_key, dedup_key), nothing_yet)
            after = _after(before, IncidentEntry(now, action, (event.get("payload") or {}).get("summary")))
            if after.history:
                self._incidents[routing_key, dedup_key] = after

    def _post(self, question: Question) -> Answer:
        try:
            message = question.json()
        except ValueError:
            message = None
        text = message.get("text") if isinstance(message, dict) else None
        if not isinstance(text, str) or not text.strip():
            return Answer(400, "invalid_payload")
        with self._lock:
            self._webhooks.append(WebhookMessage(self._clock(), question.path, text))
        return Answer(200, "ok")

    def _control(self, question: Question) -> Answer:
        match question.method, question.path:
            case "GET", "/mock/incidents":
                incidents = self.incidents.items()
                return Answer(200, {key: dataclasses.asdict(incident) for key, incident in incidents})
            case "GET", "/mock/events":
                return _listed(self.events)
            case "GET", "/mock/webhooks":
                return _listed(self.webhooks)
            case "GET", "/mock/requests":
                return _listed(self.requests)
            case "POST", "/mock/faults" | "/mock/webhook-faults":
                return self._replace_faults(question)
        return Answer(404, {"error": f"there is no {question.method} {question.path}"})

    def _replace_faults(self, question: Question) -> Answer:
        try:
            faults = call_with(DeliveryFaults, question.json())
        except ValueError as error:
            return Answer(400, {"error": str(error)})
        if question.path == "/mock/faults":
            self.faults = faults
        else:
            self.webhook_faults = faults
        return Answer(200, dataclasses.asdict(faults))


def _after(before: Incident, entry: IncidentEntry) -> Incident:
    """Give the incident after one more event: the same where the event has nothing to act on."""
    standing = before.status != "resolved"
    history = (*before.history, entry)
    if entry.action == "trigger":
        return dataclasses.replace(
            before,
            status=before.status if standing else "open",
            triggers=before.triggers + 1,
            opened=before.opened + (not standing),
            summary=entry.summary or "",
            history=history,
        )
    status: Status = "resolved" if entry.action == "resolve" else "acknowledged"
    return dataclasses.replace(before, status=status, history=history) if standing else before


def _invalid(errors: list[str]) -> Answer:
    return Answer(400, {"status": "invalid event", "message": "Event object is invalid", "errors": errors})


def _listed(things: tuple[Any, ...]) -> Answer:
    return Answer(200, [dataclasses.asdict(thing) for thing in things])


def main() -> int:
    command = argparse.ArgumentParser(
        prog="python -m rehearsal.mock_pagerduty",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--listen", metavar="HOST:PORT", default="127.0.0.1:0", help="where; port 0 is any (%(default)s)"
    )
    command.add_argument("--webhook", action="store_true", help="take messages under /webhook/ as well")
    options = command.parse_args()
    try:
        pagerduty = MockPagerDuty(listen=options.listen, webhook=options.webhook)
        serve_until_told_to_end(pagerduty, lambda: [pagerduty.address])
    except (ValueError, OSError) as error:
        command.error(str(error))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
