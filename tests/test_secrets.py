"""Nothing secret comes out of any command at any ending: not in a log, a verdict, a page or a chat."""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import pytest

from hooks import (
    log,
    postsync_verify,
    presync_standby,
    return_to_active,
    settings,
    standby_watchdog,
    syncfail_alert,
)
from hooks.verdict import Cause, Verdict
from tests.network import (
    HEALTHY,
    STARTING,
    Behaviour,
    FarEnd,
    Network,
    Oms,
    Reply,
    Request,
    answering,
    silent,
    when,
)
from tests.network import PagerDuty as Receiver

pytestmark = pytest.mark.looptime

TOKEN = "token-Zx81kQpL0nVt"
ROUTING_KEY = "r0ut1ngkeyr0ut1ngkeyr0ut1ngkey99"
LOGIN = "operator:pa55word-of-oms"
RELAY_LOGIN = "relay:pa55word-of-relay"
HOOK = "/services/T0000000/B0000000/XwebhookXsecretX"
QUERY = "signature=s1gnatureOfTheHook"
SECRETS = (TOKEN, ROUTING_KEY, LOGIN, RELAY_LOGIN, HOOK, QUERY)
FRAGMENTS = (
    *SECRETS,
    *(b64encode(login.encode()).decode() for login in (LOGIN, RELAY_LOGIN)),
    "Zx81kQpL",
    "r0ut1ngkeyr0",
    "pa55word",
    "XwebhookXsecretX",
    "s1gnature",
)
"""The secrets, and what would be left of one that was cut."""

ECHO = f"{TOKEN} {LOGIN} {b64encode(LOGIN.encode()).decode()}"
"""What an OMS tells of what it heard."""

GOSSIP = f"{' '.join(SECRETS)} {b64encode(RELAY_LOGIN.encode()).decode()}"
"""What a pager tells, as if it had got hold of everything."""

ENVIRONMENT = {
    "OMS_URL": f"http://{LOGIN}@oms-1:8080,http://{LOGIN}@oms-2:8080",
    "OMS_ADMIN_TOKEN": TOKEN,
    "PAGERDUTY_ROUTING_KEY": ROUTING_KEY,
    "PAGERDUTY_EVENTS_URL": f"http://{RELAY_LOGIN}@pagerduty.test/v2/enqueue",
    "ALERT_FALLBACK_URL": f"http://chat.test{HOOK}?{QUERY}",
    "ALERT_RUNBOOK_URL": "https://runbook.example/",
    "ARGOCD_APP_NAME": "oms",
    "ARGOCD_URL": "https://argo.example",
    "WATCH_LISTEN": "127.0.0.1:0",
    "WATCH_POLL_SECONDS": "100",
    "STANDBY_TIMEOUT_SECONDS": "10",
    "STANDBY_POLL_SECONDS": "1",
    "VERIFY_TIMEOUT_SECONDS": "10",
    "VERIFY_POLL_SECONDS": "1",
    "HOOK_RUN_ID": "run-7",
}
"""Every secret that there is, and few looks: each is logged."""


class Talkative(Oms):
    """An OMS that tells all that it knows with whatever it answers."""

    @property
    def document(self) -> dict[str, Any]:
        return super().document | {"note": ECHO, ECHO: 900 * "x" + ECHO, "deep": [{"er": ECHO}]}

    async def tell_health(self, request: Request) -> Reply:
        """Be as healthy as it is, and talk."""
        told = await super().tell_health(request)
        return Reply(told.status, {**told.content, "note": ECHO})


def refusing(status: int, echo: str = ECHO) -> Behaviour:
    """Answer with a status and an indiscreet error, longer than what is quoted of it."""
    return answering(status, 185 * b"x" + echo.encode(), X_Echo=echo)


def gossiping(status: int) -> Behaviour:
    """Be a pager that refuses like that."""
    return refusing(status, GOSSIP)


@dataclass
class Stage:
    """All far ends of a command, and SIGTERM; all of them talk too much."""

    targets: tuple[Talkative, Talkative] = field(default_factory=lambda: (Talkative(), Talkative()))
    pagerduty: Receiver = field(default_factory=Receiver)
    chat: Receiver = field(default_factory=Receiver)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.pagerduty.answer = answering(202, GOSSIP.encode())
        self.chat.answer = answering(200, GOSSIP.encode())

    @property
    def far_ends(self) -> dict[str, FarEnd]:
        """Whoever can be spoken to, by name."""
        first, second = self.targets
        return {"oms-1": first, "oms-2": second, "pagerduty.test": self.pagerduty, "chat.test": self.chat}

    def all_are(self, mode: str, owner: str | None = None, health: Any = HEALTHY) -> None:
        """Put both targets into a mode."""
        for target in self.targets:
            target.mode, target.reason, target.health = mode, owner, health

    def all_answer(self, question: str, behaviour: Behaviour) -> None:
        """Let both targets answer one kind of question by this."""
        for target in self.targets:
            setattr(target, f"{question}_answer", behaviour)


OURS = f"argocd-sync/{ECHO}"
Playing = Callable[[asyncio.Event], Awaitable[Verdict]]


def presync(stop: asyncio.Event) -> Awaitable[Verdict]:
    return presync_standby.decide(settings.load(settings.Standby), stop)


def postsync(stop: asyncio.Event) -> Awaitable[Verdict]:
    return postsync_verify.decide(settings.load(settings.Postsync), stop)


def alert(stop: asyncio.Event) -> Awaitable[Verdict]:
    return syncfail_alert.decide(syncfail_alert.load(), stop)


def return_now(stop: asyncio.Event) -> Awaitable[Verdict]:
    given = settings.load(settings.Verification)
    return return_to_active.decide(given, stop, skip_health=False, owner=None)


def watch(stop: asyncio.Event) -> Awaitable[Verdict]:
    return standby_watchdog.decide(settings.load(settings.Watch), stop)


@dataclass(frozen=True)
class Ending:
    """A command, what it meets, and how it must end."""

    playing: Playing
    cause: Cause | None
    meets: Callable[[Stage], object]
    variables: dict[str, str] = field(default_factory=dict)


def _trading(stage: Stage) -> None:
    stage.all_are("active")


def _standing(stage: Stage) -> None:
    stage.all_are("standby", OURS)


def _held_by_somebody(stage: Stage) -> None:
    stage.all_are("standby", f"operator/{ECHO}")


def _starting(stage: Stage) -> None:
    stage.all_are("standby", OURS, STARTING)


def _in_a_mode_of_its_own(stage: Stage) -> None:
    stage.all_are(ECHO, OURS)


def _refusing_the_switch(stage: Stage) -> None:
    _standing(stage)
    stage.all_answer("switch", refusing(403))


def _refusing_every_look(stage: Stage) -> None:
    stage.all_answer("mode", refusing(403))
    stage.all_answer("health", refusing(403))


def _failing_every_look(stage: Stage) -> None:
    stage.all_answer("mode", refusing(503))
    stage.all_answer("health", refusing(503))


def _draining_for_ever(stage: Stage) -> None:
    for target in stage.targets:
        target.drains_for = 10_000


def _never_back(stage: Stage) -> None:
    """Take the way into standby, and then no other."""
    _draining_for_ever(stage)
    for target in stage.targets:
        target.switch_answer = partial(target.switch_to, "standby", refusing(503))


def _with_sigterm(seconds: float, meets: Callable[[Stage], object]) -> Callable[[Stage], None]:
    def begin(stage: Stage) -> None:
        meets(stage)
        when(seconds, stage.stop.set)

    return begin


def _with_pagerduty(behaviour: Behaviour, meets: Callable[[Stage], object]) -> Callable[[Stage], None]:
    def begin(stage: Stage) -> None:
        meets(stage)
        stage.pagerduty.answer = behaviour

    return begin


def _with_nobody_to_tell(status: int) -> Callable[[Stage], None]:
    def begin(stage: Stage) -> None:
        _standing(stage)
        stage.pagerduty.answer = stage.chat.answer = gossiping(status)

    return begin


RECOVER = {"ALERT_RECOVERY": "return-to-active"}
UNTRUSTED = {"OMS_URL": f"https://{LOGIN}@oms-1:8080"}
ENDINGS = {
    "presync-standby succeeded": Ending(presync, None, _trading),
    "presync-standby beside somebody": Ending(presync, None, _held_by_somebody),
    "presync-standby refused by somebody": Ending(
        presync, Cause.REFUSED, _held_by_somebody, {"STANDBY_IF_FOREIGN": "refuse"}
    ),
    "presync-standby refused a switch": Ending(presync, Cause.REFUSED, _refusing_the_switch),
    "presync-standby refused a look": Ending(presync, Cause.REFUSED, _refusing_every_look),
    "presync-standby timed out": Ending(presync, Cause.TIMED_OUT, _failing_every_look),
    "presync-standby in a strange mode": Ending(presync, None, _in_a_mode_of_its_own),
    "presync-standby undone": Ending(presync, Cause.TIMED_OUT, _draining_for_ever),
    "presync-standby not undone": Ending(presync, Cause.UNDO_FAILED, _never_back),
    "presync-standby terminated": Ending(presync, Cause.TERMINATED, _with_sigterm(5, _draining_for_ever)),
    "postsync-verify succeeded": Ending(postsync, None, _standing),
    "postsync-verify with no PagerDuty": Ending(postsync, None, _with_pagerduty(gossiping(403), _standing)),
    "postsync-verify refused": Ending(postsync, Cause.REFUSED, _refusing_the_switch),
    "postsync-verify failed": Ending(
        postsync, Cause.REFUSED, _starting, {"VERIFY_FAIL_CONDITION": '.status == "starting"'}
    ),
    "postsync-verify timed out": Ending(postsync, Cause.TIMED_OUT, _starting),
    "postsync-verify terminated": Ending(postsync, Cause.TERMINATED, _with_sigterm(5, _starting)),
    "syncfail-alert succeeded": Ending(alert, None, _standing),
    "syncfail-alert in a strange mode": Ending(alert, None, _in_a_mode_of_its_own),
    "syncfail-alert of somebody": Ending(alert, None, _held_by_somebody, RECOVER),
    "syncfail-alert of what cannot be read": Ending(alert, None, _failing_every_look, RECOVER),
    "syncfail-alert recovered": Ending(alert, None, _standing, RECOVER),
    "syncfail-alert not recovered": Ending(alert, None, _refusing_the_switch, RECOVER),
    "syncfail-alert told the fallback": Ending(alert, None, _with_pagerduty(gossiping(403), _standing)),
    "syncfail-alert sent the minimal event": Ending(alert, None, _with_pagerduty(gossiping(400), _standing)),
    "syncfail-alert refused": Ending(alert, Cause.REFUSED, _with_nobody_to_tell(403)),
    "syncfail-alert timed out": Ending(alert, Cause.TIMED_OUT, _with_nobody_to_tell(503)),
    "syncfail-alert misconfigured": Ending(
        alert, Cause.MISCONFIGURED, _standing, {"PAGERDUTY_EVENTS_URL": f"{TOKEN}://{RELAY_LOGIN}@x"}
    ),
    "syncfail-alert with faults": Ending(
        alert,
        None,
        _standing,
        {"ALERT_RECOVERY": ECHO, "OMS_MODE_PATH": ECHO, "OMS_SINCE_FILTER": ECHO},
    ),
    "syncfail-alert with a bug": Ending(alert, None, _standing, UNTRUSTED),
    "syncfail-alert with a bug of the fallback": Ending(
        alert,
        None,
        _with_pagerduty(gossiping(403), _standing),
        {"ALERT_FALLBACK_URL": f"https://chat.test{HOOK}?{QUERY},http://chat.test{HOOK}"},
    ),
    "syncfail-alert terminated": Ending(alert, None, _with_sigterm(1, _with_pagerduty(silent, _standing))),
    "return-to-active succeeded": Ending(return_now, None, _standing),
    "return-to-active refused": Ending(return_now, Cause.REFUSED, _held_by_somebody),
    "return-to-active refused a switch": Ending(return_now, Cause.REFUSED, _refusing_the_switch),
    "return-to-active timed out": Ending(return_now, Cause.TIMED_OUT, _failing_every_look),
    "return-to-active terminated": Ending(return_now, Cause.TERMINATED, _with_sigterm(5, _starting)),
    "standby-watchdog paged": Ending(watch, None, _with_sigterm(1000, _standing)),
    "standby-watchdog told the fallback": Ending(
        watch, None, _with_sigterm(1000, _with_pagerduty(gossiping(403), _failing_every_look))
    ),
}


@pytest.mark.parametrize(
    ("name", "log_format"),
    [(name, "json") for name in ENDINGS]
    + [(name, "console") for name in ENDINGS if "bug" in name or "refused" in name],
)
async def test_no_secret_comes_out(
    name: str,
    log_format: Literal["json", "console"],
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    """Whatever the far ends say, and however it ends; each of them hears its own secrets alone."""
    ending, stage, network = ENDINGS[name], Stage(), Network(monkeypatch)
    for far_end_name, far_end in stage.far_ends.items():
        network.add(far_end_name, far_end)
    for variable, value in (ENVIRONMENT | ending.variables).items():
        monkeypatch.setenv(variable, value)
    log.configure("hook", log_format=log_format, level="debug", began=time.monotonic())
    ending.meets(stage)

    verdict = await ending.playing(stage.stop)
    log.verdict(reason=verdict.reason, targets=dict(verdict.targets))

    assert verdict.cause is ending.cause, verdict.reason
    told = capsysbinary.readouterr().out.decode()
    assert told.count("\n") > 1
    hold_no_secret(told)
    for target in stage.targets:
        for request in target.requests:
            assert request.headers.get("authorization") in {
                f"Bearer {TOKEN}",
                f"Basic {b64encode(LOGIN.encode()).decode()}",
            }
            hold_no_secret(f"{request.path} {request.body.decode()}")
    for request in (*stage.pagerduty.requests, *stage.chat.requests):
        hold_no_secret(request.body.decode().replace(f'"routing_key":"{ROUTING_KEY}",', "", 1))
        assert TOKEN not in str(request.headers)


def hold_no_secret(text: str) -> None:
    """Hold that neither a secret nor half of one is in a text."""
    assert [fragment for fragment in FRAGMENTS if fragment in text] == [], text


def test_a_fault_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with a variable is told to whoever reads the log, who may not know the secret."""
    for variable in settings.AlertByPagerDuty.model_fields:
        monkeypatch.setenv(variable.upper(), f"\x7f{ECHO}")

    with pytest.raises(settings.MisconfiguredError) as caught:
        settings.load(settings.AlertByPagerDuty)

    assert {
        "OMS_ADMIN_TOKEN",
        "OMS_URL",
        "PAGERDUTY_EVENTS_URL",
        "ALERT_FALLBACK_URL",
    } <= caught.value.faults.keys()
    hold_no_secret(f"{caught.value} {caught.value!r} {caught.getrepr(showlocals=False)}")
