"""A process that may open few files still does what it can, and says what it could not do."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.hostile.environment import BRIEF, given
from tests.hostile.oms import Oms
from tests.hostile.pages import DELIVERED, EVENT, trigger
from tests.hostile.peer import Peer
from tests.hostile.process import Process

MANY = 60


@pytest.mark.parametrize("files", [24, 40])
def test_more_targets_than_open_files_cost_no_page(files: int) -> None:
    """Whatever the targets took, there is a connection left for PagerDuty."""
    with ExitStack() as stack:
        targets = [stack.enter_context(Peer(Oms(mode="standby").answers())) for _ in range(MANY)]
        pagerduty = stack.enter_context(Peer(DELIVERED))
        environment = given(*targets, pagerduty=pagerduty, times=BRIEF, ALERT_TIMEOUT_SECONDS="5")
        few_files = ["sh", "-c", f'ulimit -n {files}; exec "$0"']
        with Process("syncfail-alert", environment, through=few_files) as process:
            assert process.ends(25).code == 0
        (event,) = pagerduty.asked(EVENT)
    trigger(event)


@pytest.mark.parametrize("files", [24, 40])
def test_more_targets_than_open_files_are_no_standby(files: int) -> None:
    """What could not be reached is not in standby, and what was reached trades again."""
    all_oms = [Oms() for _ in range(MANY)]
    with ExitStack() as stack:
        targets = [stack.enter_context(Peer(oms.answers())) for oms in all_oms]
        few_files = ["sh", "-c", f'ulimit -n {files}; exec "$0"']
        with Process("presync-standby", given(*targets, times=BRIEF), through=few_files) as process:
            assert process.ends(25).code == 3
    assert {oms.mode for oms in all_oms} == {"active"}
