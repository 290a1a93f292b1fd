"""The example on a real Argo CD, from the first installation on; `make test-cluster`, see README.md beside this.

Each story begins where the one before ended: three replicas of one version, trading. The file's name keeps it out of
`make test`, which needs no cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cluster import kubectl, pods
from tests.cluster.conftest import KEY
from tests.cluster.repository import WATCH_STANDBY_SECONDS, Release

if TYPE_CHECKING:
    from tests.cluster.conftest import Example

ACTIVE, STANDBY = "active", "standby"
# The page itself has left when SyncFail has ended; a watchdog's comes after its time and a look or two.
PAGED_SECONDS = 120.0
WATCHED_SECONDS = WATCH_STANDBY_SECONDS + 240.0
FAILED = "one or more synchronization tasks completed unsuccessfully"


def test_a_first_installation(example: Example) -> None:
    """There is no OMS yet: PreSync lets the sync pass, and the new OMS trades once it is verified."""
    operation = example.deploy(Release("1", first=True))

    assert operation.phase == "Succeeded", kubectl.state()
    assert operation.hooks() == {"PreSync": "Succeeded", "PostSync": "Succeeded"}
    example.becomes(*[(ACTIVE, "1")] * 3)


def test_a_good_deployment(example: Example) -> None:
    """Every replica is put into standby, replaced, verified, and trades again; nobody is called."""
    operation = example.deploy(Release("2"))

    assert operation.phase == "Succeeded", kubectl.state()
    assert operation.hooks() == {"PreSync": "Succeeded", "PostSync": "Succeeded"}
    example.becomes(*[(ACTIVE, "2")] * 3)
    assert example.incidents().get(KEY) != "open"


def test_a_stuck_drain(example: Example) -> None:
    """One replica never drains: nothing is rolled out, all trade again, and somebody is called."""
    example.set_fault('{"never_drain": True}')

    operation = example.deploy(Release("3"))

    example.set_fault("{}")
    assert (operation.phase, operation.hooks()) == (
        "Failed",
        {"PreSync": "Failed", "SyncFail": "Succeeded"},
    ), kubectl.state()
    assert FAILED in operation.message
    # podFailurePolicy put the program's own code into Argo CD's table: 3, timed out.
    assert "failed with exit code 3 matching FailJob rule" in operation.hook_message("PreSync")
    example.becomes(*[(ACTIVE, "2")] * 3)
    example.has_incident(KEY, "open", PAGED_SECONDS)


def test_an_unhealthy_version(example: Example) -> None:
    """The new version never gets healthy: it stays in standby, and somebody is called."""
    operation = example.deploy(Release("4").never_healthy())

    assert (operation.phase, operation.hooks()) == (
        "Failed",
        {"PreSync": "Succeeded", "PostSync": "Failed", "SyncFail": "Succeeded"},
    ), kubectl.state()
    assert "failed with exit code 3 matching FailJob rule" in operation.hook_message("PostSync")
    example.becomes(*[(STANDBY, "4")] * 3)
    example.has_incident(KEY, "open", PAGED_SECONDS)


def test_a_second_sync_after_a_failed_one(example: Example) -> None:
    """Every hook runs anew: a Job left over from the sync that failed does not count as this one's."""
    names = ("oms-presync-standby", "oms-postsync-verify")
    before = [example.job_uid(name) for name in names]

    operation = example.deploy(Release("5"))

    assert operation.phase == "Succeeded", kubectl.state()
    assert operation.hooks() == {"PreSync": "Succeeded", "PostSync": "Succeeded"}
    after = [example.job_uid(name) for name in names]
    assert all(old and new and old != new for old, new in zip(before, after, strict=True)), (before, after)
    example.becomes(*[(ACTIVE, "5")] * 3)
    example.has_incident(KEY, "resolved", PAGED_SECONDS)


def test_a_terminated_sync_is_caught_by_the_watchdog(example: Example) -> None:
    """Terminate in the middle of PostSync: no SyncFail runs, the OMS stays in standby, and the watchdog calls somebody."""
    pager = example.job_uid("oms-syncfail-alert")
    sync = example.begin(Release("6").never_healthy())
    sync.reached("PostSync", "Running")

    sync.terminate()
    operation = sync.ended()

    assert operation.phase == "Failed", kubectl.state()
    assert "terminated" in operation.message
    assert "SyncFail" not in operation.hooks()
    assert example.job_uid("oms-syncfail-alert") == pager
    example.becomes(*[(STANDBY, "6")] * 3)
    example.has_incident(f"{KEY}/standby", "open", WATCHED_SECONDS)


def test_the_way_back_after_it(example: Example) -> None:
    """The next good sync takes over the standby that was left, and the watchdog resolves its own incident."""
    operation = example.deploy(Release("7"))

    assert operation.phase == "Succeeded", kubectl.state()
    example.becomes(*[(ACTIVE, "7")] * 3)
    example.has_incident(f"{KEY}/standby", "resolved", WATCHED_SECONDS)


def test_on_call_returns_what_a_terminated_sync_left(example: Example) -> None:
    """Terminated once more, and the Job that on-call makes of the suspended CronJob brings the OMS back."""
    sync = example.begin(Release("8").never_healthy())
    sync.reached("PostSync", "Running")
    sync.terminate()
    sync.ended()
    example.becomes(*[(STANDBY, "8")] * 3)

    # Never healthy: without asking for health, as the runbook says for who has looked.
    kubectl.kubectl(
        *("create", "job", "on-call", "-n", pods.HOOKS, "--from=cronjob/oms-return-to-active-skip-health")
    )

    example.becomes(*[(ACTIVE, "8")] * 3)
