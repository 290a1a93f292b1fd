"""Plays one scenario from beginning to end, and holds it against the ending that it must have."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rich.text import Text

from rehearsal import manifests
from rehearsal.argo import Operation
from rehearsal.beside import beside
from rehearsal.ending import Outcome, differences
from rehearsal.mock_oms import MockOms
from rehearsal.mock_pagerduty import MockPagerDuty
from rehearsal.scenarios import TOKEN
from rehearsal.stage import NEW, OLD, Stage
from rehearsal.timeline import Result
from rehearsal.trading import in_words, whole
from rehearsal.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rehearsal.fact import Fact, Tell
    from rehearsal.job import Runner
    from rehearsal.manifests import Manifest
    from rehearsal.scenarios import Scenario
    from rehearsal.timeline import Timeline

REPLICAS = 3
DRAIN_SECONDS = 0.8
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
# A person watches: ten seconds of soaking show no more than this.
SHORTER = {"VERIFY_SOAK_SECONDS": "0.5"}
# By far longer than any scenario that ends as it must.
AT_MOST_SECONDS = 90.0
UUID = re.compile(r"\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f-]{22}\b")
STYLES = {"active": "green", "draining": "yellow", "standby": "cyan"}


async def play(
    scenario: Scenario, jobs: list[Manifest], timeline: Timeline, runner: Callable[[Path], Runner]
) -> Result:
    """Play a scenario from the rendered Jobs, run by a `runner` that keeps its files in a directory.

    Raises ManifestError for what cannot be played, and RunnerError.
    """
    began = time.time()
    facts: list[Fact] = []

    def tell(fact: Fact) -> None:
        facts.append(fact)
        timeline.tell(replace(fact, more=_readable(fact.more, stage)))

    with ExitStack() as far_ends:
        stage, circumstances = _stage(scenario, jobs, runner, far_ends, tell)
        timeline.begin(scenario.name, scenario.story, circumstances, began)
        async with timeline.live(lambda: _now(stage)), Witness(stage, tell).looking():
            operation = await _act(scenario, stage)
        outcome = Outcome(
            operation=operation,
            runs=stage.sync.runs,
            replicas={name: replica.state for name, replica in stage.replicas.items()},
            facts=facts,
            incidents=list(stage.pagerduty.incidents.values()),
        )
        differing = differences(scenario.must, outcome)
        timeline.end(list(_comes_to(stage, began)), differing)
        return Result(
            scenario.name, differing, _without_trading(stage), _incidents(stage), seconds=time.time() - began
        )


def _stage(
    scenario: Scenario,
    jobs: list[Manifest],
    make_runner: Callable[[Path], Runner],
    far_ends: ExitStack,
    tell: Tell,
) -> tuple[Stage, list[tuple[str, str]]]:
    """Open the far ends and set the scene; with it, what is not as in the manifests."""
    oms = far_ends.enter_context(
        MockOms(replicas=REPLICAS, token=TOKEN, version=OLD, drain_seconds=DRAIN_SECONDS, start_mode="active")
    )
    pagerduty = far_ends.enter_context(MockPagerDuty())
    pagerduty.faults = scenario.pagerduty_faults
    written = manifests.variable(jobs[0], "OMS_URL") or ""
    variables = {
        "OMS_URL": _at_port(written, oms.replicas[0].bound[1]),
        "PAGERDUTY_EVENTS_URL": pagerduty.url,
        # An application copies it from the OMS's image.
        "EXPECT_VERSION": NEW,
        **SHORTER,
        **scenario.variables,
    }
    runner = make_runner(Path(far_ends.enter_context(tempfile.TemporaryDirectory(prefix="rehearsal-"))))
    stage = Stage(
        [manifests.with_variables(job, variables) for job in jobs],
        {
            "oms-hooks": {"OMS_ADMIN_TOKEN": scenario.token},
            "pagerduty": {"PAGERDUTY_ROUTING_KEY": ROUTING_KEY},
        },
        oms=oms,
        oms_name=urlsplit(written).hostname or "",
        pagerduty=pagerduty,
        runner=runner,
        tell=tell,
    )
    stage.new_faults = scenario.new_faults
    stage.announce(installed=scenario.installed)
    for name, faults in scenario.faults.items():
        stage.replicas[name].faults = faults
    circumstances = [(" ".join(stage.replicas), _addresses(stage)), *_replaced(jobs, variables)]
    return stage, [*circumstances, *runner.changes]


def _at_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.hostname}:{port}").geturl()


def _replaced(jobs: list[Manifest], variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Say what each variable was in the manifests, and what it is now."""
    for name, value in variables.items():
        written = [manifests.variable(job, name) for job in jobs]
        before = next((value for value in written if value is not None), "not set")
        if name == "OMS_URL":
            yield name, f"{before} → port {urlsplit(value).port}"
        elif before != value:
            yield name, f"{before} → {value}"


def _readable(text: str, stage: Stage) -> str:
    """Say names for addresses, and of each uid as much as a person compares."""
    for name, replica in stage.replicas.items():
        text = text.replace(replica.address, name)
    return UUID.sub(r"\1", text)


def _addresses(stage: Stage) -> str:
    return f"{', '.join(replica.bound[0] for replica in stage.oms.replicas)}, port {stage.port}"


async def _act(scenario: Scenario, stage: Stage) -> Operation:
    """Play the sync, with what goes on before, beside and after it."""
    try:
        async with asyncio.timeout(AT_MOST_SECONDS):
            scenario.before(stage)
            async with beside(scenario.meanwhile(stage)):
                operation = await stage.sync.run(stage.roll_out)
            await scenario.afterwards(stage)
            return operation
    except TimeoutError:
        return Operation("Running", "and what was waited for did not come")


def _comes_to(stage: Stage, began: float) -> Iterator[tuple[str, str]]:
    if (pause := _without_trading(stage)) == "none":
        yield "without trading", pause
    else:
        yield "without trading", f"{pause}, from the first that stopped to the last that came back"
        yield "", _each(stage)
    for incident in stage.pagerduty.incidents.values():
        first, last = incident.history[0].at - began, incident.history[-1].at - began
        until = f", resolved at {last:.2f}" if incident.status == "resolved" else f", still {incident.status}"
        yield "incident", f"{incident.dedup_key}: opened at {first:.2f}{until}"
    if not stage.pagerduty.incidents:
        yield "incident", "none: nobody was called"


def _without_trading(stage: Stage) -> str:
    """Say how long it took from the first replica that stopped to the last that came back."""
    return in_words(whole(pause for pauses in stage.pauses().values() for pause in pauses), time.time())


def _each(stage: Stage) -> str:
    return ", ".join(f"{name} {in_words(pauses, time.time())}" for name, pauses in stage.pauses().items())


def _incidents(stage: Stage) -> str:
    return ", ".join(incident.status for incident in stage.pagerduty.incidents.values()) or "none"


def _now(stage: Stage) -> Text:
    """Say how every replica is at this moment."""
    line = Text("          ")
    for name, replica in stage.replicas.items():
        mode = replica.state.mode
        line.append(f"{name} ", "dim").append(f"{mode}   ", STYLES.get(mode, "red"))
    return line
