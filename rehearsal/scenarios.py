"""What can happen in a sync, and how each must end."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field

from rehearsal.argo import FAILED, SUCCEEDED, TERMINATED
from rehearsal.ending import Ending
from rehearsal.mock_oms import Faults
from rehearsal.mock_pagerduty import DeliveryFaults
from rehearsal.stage import OLD, Stage

TOKEN = "made-up-admin-token"
OPERATOR = "operator/jane"


def _nothing_yet(_stage: Stage) -> None:
    pass


async def _nothing(_stage: Stage) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One sync: what is not as usual, and its ending."""

    name: str
    story: str
    must: Ending
    variables: Mapping[str, str] = field(default_factory=dict)
    """Changed in the manifests of the hooks."""
    token: str = TOKEN
    """What the Secret holds; the OMS takes TOKEN."""
    installed: bool = True
    faults: Mapping[str, Faults] = field(default_factory=dict)
    """Of the version that runs, by replica."""
    new_faults: Faults = field(default_factory=Faults)
    """Of the version that is rolled out."""
    pagerduty_faults: DeliveryFaults = field(default_factory=DeliveryFaults)
    before: Callable[[Stage], None] = _nothing_yet
    meanwhile: Callable[[Stage], Coroutine[None, None, None]] = _nothing
    """Runs beside the sync, and is cancelled when the sync is over."""
    afterwards: Callable[[Stage], Coroutine[None, None, None]] = _nothing


ALL_ON_1 = ("active, version 1",) * 3
ALL_ON_2 = ("active, version 2",) * 3
ALL = ("oms-0", "oms-1", "oms-2")

GOOD = Scenario(
    name="good-deployment",
    story="three replicas drain, are replaced, verified, and trade again",
    must=Ending(
        operation=SUCCEEDED,
        commands=("presync-standby succeeded (0)", "postsync-verify succeeded (0)"),
        replicas=ALL_ON_2,
        order=(
            "PreSync begins",
            "oms-1 active → draining",
            "oms-1 draining → standby",
            "presync-standby succeeded (0)",
            "Sync begins",
            "oms-1 standby → down",
            "PostSync begins",
            "oms-1 is healthy",
            "oms-1 standby → active",
            "postsync-verify succeeded (0)",
            "Argo CD operation Succeeded",
        ),
    ),
)

STUCK = Scenario(
    name="stuck-drain",
    story="one replica never drains: nothing is rolled out, all trade again, somebody is called",
    variables={"STANDBY_TIMEOUT_SECONDS": "2.5"},
    faults={"oms-1": Faults(never_drain=True)},
    must=Ending(
        operation=FAILED,
        commands=("presync-standby timed_out (3)", "syncfail-alert succeeded (0)"),
        replicas=ALL_ON_1,
        order=(
            "oms-0 draining → standby",
            "oms-0 standby → active",
            "presync-standby timed_out (3)",
            "Argo CD oms-presync-standby has failed",
            "SyncFail begins",
            "PagerDuty calls somebody",
        ),
        incident="open",
        page=("oms", "{oms-1}"),
    ),
)


async def _forget(stage: Stage) -> None:
    await stage.until_mode("oms-1", "draining")
    # Seen by the hook to have left active: only then is it asked again without delay.
    await stage.until_asked("oms-1", 3)
    await stage.restart("oms-1", OLD, down_seconds=0.3, forgets=True)


FORGETFUL = Scenario(
    name="forgetful-oms",
    story="one replica restarts while it drains and trades again: it is asked again",
    meanwhile=_forget,
    must=Ending(
        operation=SUCCEEDED,
        commands=("presync-standby succeeded (0)", "postsync-verify succeeded (0)"),
        replicas=ALL_ON_2,
        order=(
            "oms-1 active → draining",
            "oms-1 draining → down",
            "oms-1 down → active",
            "oms-1 active → draining",
            "oms-1 draining → standby",
            "presync-standby succeeded (0)",
            "Sync begins",
        ),
    ),
)


async def _return_by_hand(stage: Stage) -> None:
    await stage.on_call("return-to-active")
    await stage.on_call("return-to-active", "--skip-health")


BAD_VERSION = Scenario(
    name="bad-version",
    story="the new version never gets healthy: it stays in standby until somebody decides",
    variables={"VERIFY_TIMEOUT_SECONDS": "1.5"},
    new_faults=Faults(never_healthy=True),
    afterwards=_return_by_hand,
    must=Ending(
        operation=FAILED,
        commands=(
            "presync-standby succeeded (0)",
            "postsync-verify timed_out (3)",
            "syncfail-alert succeeded (0)",
            "return-to-active timed_out (3)",
            "return-to-active succeeded (0)",
        ),
        replicas=ALL_ON_2,
        order=(
            "Sync begins",
            "postsync-verify timed_out (3)",
            "PagerDuty calls somebody",
            "On call begins",
            "return-to-active timed_out (3)",
            "oms-0 standby → active",
            "return-to-active succeeded (0)",
        ),
        incident="open",
        page=("oms", "all 3 are in standby: not trading", "{oms-0}, {oms-1}, {oms-2}"),
    ),
)

WRONG_TOKEN = Scenario(
    name="wrong-token",
    story="the OMS refuses the token: it ends at once, and nothing has stopped",
    token="another-token",
    must=Ending(
        operation=FAILED,
        commands=("presync-standby refused (1)", "syncfail-alert succeeded (0)"),
        replicas=ALL_ON_1,
        order=("presync-standby refused (1)", "PagerDuty calls somebody"),
        incident="open",
        page=("oms",),
    ),
)


async def _mend_pagerduty(stage: Stage) -> None:
    await stage.until(lambda: len(stage.pagerduty.requests) >= 3)
    stage.pagerduty.faults = DeliveryFaults()


PAGERDUTY_DOWN = Scenario(
    name="pagerduty-down",
    story="PagerDuty is down when it is needed: the page goes out as soon as it is up",
    token="another-token",
    pagerduty_faults=DeliveryFaults(status=503),
    meanwhile=_mend_pagerduty,
    must=Ending(
        operation=FAILED,
        commands=("presync-standby refused (1)", "syncfail-alert succeeded (0)"),
        replicas=ALL_ON_1,
        order=("PagerDuty answers 503", "PagerDuty answers 503", "PagerDuty calls somebody"),
        incident="open",
        page=("oms",),
    ),
)


async def _terminate(stage: Stage) -> None:
    await stage.until_mode("oms-0", "standby")
    stage.sync.terminate()


TERMINATED_MIDWAY = Scenario(
    name="terminated",
    story="somebody presses Terminate midway: all trade again, although SyncFail never runs",
    faults={"oms-2": Faults(never_drain=True)},
    meanwhile=_terminate,
    must=Ending(
        operation=TERMINATED,
        commands=("presync-standby terminated (143)",),
        replicas=ALL_ON_1,
        order=(
            "somebody presses Terminate",
            "Argo CD operation Failed",
            "presync-standby gets SIGTERM",
            "oms-0 standby → active",
            "presync-standby terminated (143)",
        ),
    ),
)


async def _drain_node(stage: Stage) -> None:
    await stage.until_mode("oms-0", "draining")
    stage.sync.drain_node()


DRAINED_NODE = Scenario(
    name="drained-node",
    story="the node under the PreSync hook is drained: its next pod goes on, and nobody is called",
    meanwhile=_drain_node,
    must=Ending(
        operation=SUCCEEDED,
        commands=(
            "presync-standby terminated (143)",
            "presync-standby succeeded (0)",
            "postsync-verify succeeded (0)",
        ),
        replicas=ALL_ON_2,
        order=(
            "presync-standby gets SIGTERM",
            "oms-0 draining → active",
            "presync-standby terminated (143)",
            "oms-0 draining → standby",
            "presync-standby succeeded (0)",
            "Sync begins",
        ),
    ),
)

UNDO_IMPOSSIBLE = Scenario(
    name="undo-impossible",
    story="one never drains, another refuses to trade again: a person is needed",
    variables={"STANDBY_TIMEOUT_SECONDS": "2", "STANDBY_UNDO_SECONDS": "2"},
    faults={"oms-1": Faults(never_drain=True), "oms-2": Faults(refuse_active=True)},
    must=Ending(
        operation=FAILED,
        commands=("presync-standby undo_failed (4)", "syncfail-alert succeeded (0)"),
        replicas=("active, version 1", "active, version 1", "standby, version 1, held by argocd-sync/oms"),
        order=("oms-2 answers 409", "presync-standby undo_failed (4)", "PagerDuty calls somebody"),
        reasons={"presync-standby undo_failed (4)": "{oms-2} is standby"},
        incident="open",
        page=("oms", "{oms-2} is in standby"),
    ),
)


def _hold(stage: Stage) -> None:
    stage.begin("Before")
    stage.operator("oms-1", "standby", OPERATOR)


OPERATOR_STANDBY = Scenario(
    name="operator-standby",
    story="an operator holds one replica: it is left alone from beginning to end",
    variables={"STANDBY_IF_FOREIGN": "proceed"},
    before=_hold,
    must=Ending(
        operation=SUCCEEDED,
        commands=("presync-standby succeeded (0)", "postsync-verify succeeded (0)"),
        replicas=("active, version 2", f"standby, version 2, held by {OPERATOR}", "active, version 2"),
        untouched=("oms-1",),
        order=(f"{OPERATOR} switches oms-1 to standby", "PreSync begins", "presync-standby succeeded (0)"),
    ),
)


async def _release(stage: Stage) -> None:
    await stage.until_asked("oms-1", 5)
    stage.operator("oms-1", "active", OPERATOR)


OPERATOR_WAIT = Scenario(
    name="operator-standby-wait",
    story="an operator holds one replica: nothing is sent until it is free",
    variables={"STANDBY_IF_FOREIGN": "wait"},
    before=_hold,
    meanwhile=_release,
    must=Ending(
        operation=SUCCEEDED,
        commands=("presync-standby succeeded (0)", "postsync-verify succeeded (0)"),
        replicas=ALL_ON_2,
        order=(
            f"{OPERATOR} switches oms-1 to standby",
            f"{OPERATOR} switches oms-1 to active",
            "oms-0 active → draining",
            "presync-standby succeeded (0)",
        ),
    ),
)

OPERATOR_REFUSE = Scenario(
    name="operator-standby-refuse",
    story="an operator holds one replica: the deployment is off, nothing is sent",
    variables={"STANDBY_IF_FOREIGN": "refuse"},
    before=_hold,
    must=Ending(
        operation=FAILED,
        commands=("presync-standby refused (1)", "syncfail-alert succeeded (0)"),
        replicas=("active, version 1", f"standby, version 1, held by {OPERATOR}", "active, version 1"),
        untouched=ALL,
        incident="open",
        page=("oms", "{oms-1} is in standby"),
    ),
)

GUARD = Scenario(
    name="guard-says-no",
    story="the guard wants a closed session, and the OMS tells of none: nothing is sent",
    variables={"STANDBY_GUARD_CONDITION": '.session == "closed"'},
    must=Ending(
        operation=FAILED,
        commands=("presync-standby refused (1)", "syncfail-alert succeeded (0)"),
        replicas=ALL_ON_1,
        untouched=ALL,
        incident="open",
        page=("oms",),
    ),
)

FIRST_INSTALLATION = Scenario(
    name="first-installation",
    story="no OMS yet: PreSync lets the sync pass, and the new OMS trades once verified",
    variables={"STANDBY_IF_ABSENT": "skip", "STANDBY_ABSENT_SECONDS": "1"},
    installed=False,
    must=Ending(
        operation=SUCCEEDED,
        commands=("presync-standby succeeded (0)", "postsync-verify succeeded (0)"),
        replicas=ALL_ON_2,
        order=(
            "presync-standby succeeded (0)",
            "Kubernetes installs the OMS",
            "oms-0 is healthy",
            "oms-0 standby → active",
        ),
    ),
)

SCENARIOS = (
    GOOD,
    STUCK,
    FORGETFUL,
    BAD_VERSION,
    WRONG_TOKEN,
    PAGERDUTY_DOWN,
    TERMINATED_MIDWAY,
    DRAINED_NODE,
    UNDO_IMPOSSIBLE,
    OPERATOR_STANDBY,
    OPERATOR_WAIT,
    OPERATOR_REFUSE,
    GUARD,
    FIRST_INSTALLATION,
)
