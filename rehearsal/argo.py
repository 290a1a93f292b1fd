"""One sync of one application, played from rendered manifests in the order and with the words of Argo CD."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from itertools import groupby
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from rehearsal import manifests
from rehearsal.fact import Fact, Tone
from rehearsal.job import Job, JobEnd
from rehearsal.manifests import ManifestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from rehearsal.fact import Tell
    from rehearsal.job import Interruption, PodEnd, Runner
    from rehearsal.manifests import Manifest, Pod, Secrets

HOOK = "argocd.argoproj.io/hook"
WAVE = "argocd.argoproj.io/sync-wave"
OURS = {"app.kubernetes.io/part-of": "oms-hooks"}
WARNINGS = {"warning", "error", "critical"}
# Those that the time line tells from the other side.
TOLD_BY_THE_OMS = {"switch_not_accepted"}
# Where the Application deploys to, unless a manifest says otherwise.
NAMESPACE = "trading"


def jobs_in(documents: Sequence[Manifest]) -> list[Manifest]:
    """Pick our hooks, and make the Job that Argo CD's "Create Job" makes of each of our CronJobs.

    Any other Job is the application's own and not run here. Raises ManifestError where a phase has no hook.
    """
    ours = [
        document for document in documents if OURS.items() <= document["metadata"].get("labels", {}).items()
    ]
    hooks = [document for document in ours if document["kind"] == "Job"]
    for phase in ("PreSync", "PostSync", "SyncFail"):
        if not any(phase in _phases(hook) for hook in hooks):
            raise ManifestError(f"none of our Jobs in it is a {phase} hook")
    by_hand = [
        {"metadata": document["metadata"], "spec": document["spec"]["jobTemplate"]["spec"]}
        for document in ours
        if document["kind"] == "CronJob"
    ]
    return [{**job, "metadata": {"namespace": NAMESPACE, **job["metadata"]}} for job in hooks + by_hand]


@dataclass(frozen=True)
class Operation:
    """How the sync ended: phase and message of `status.operationState`."""

    phase: str
    message: str

    def __str__(self) -> str:
        return f"{self.phase}, {self.message}"


SUCCEEDED = Operation("Succeeded", "successfully synced (all tasks run)")
FAILED = Operation("Failed", "one or more synchronization tasks completed unsuccessfully")
TERMINATED = Operation("Failed", "Operation terminated")


@dataclass
class CommandRun:
    """One pod of a hook as far as it got."""

    command: str
    exit_code: int | None = None
    verdict: dict[str, Any] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)
    """Lines that are no log line."""

    def __str__(self) -> str:
        how = self.verdict.get("cause") or self.verdict.get("outcome") or "no verdict"
        return f"{self.command} {how} ({self.exit_code})"


class Sync:
    """One operation; it is run once."""

    def __init__(
        self,
        jobs: Sequence[Manifest],
        secrets: Secrets,
        runner: Runner,
        tell: Tell,
        *,
        pod_backoff_seconds: float,
    ) -> None:
        self.runs: list[CommandRun] = []
        self._jobs = jobs
        self._secrets = secrets
        self._pod_backoff_seconds = pod_backoff_seconds
        self._runner = runner
        self._tell = tell
        self._running: set[Job] = set()
        self._terminated = False

    async def run(self, roll_out: Callable[[], Awaitable[None]]) -> Operation:
        """Play PreSync, the roll-out and PostSync, and SyncFail after any failure.

        Raises ManifestError for what is not played.
        """
        succeeded = (
            await self._phase("PreSync") and await self._apply(roll_out) and await self._phase("PostSync")
        )
        if self._terminated:
            return TERMINATED
        operation = SUCCEEDED if succeeded else FAILED
        if not succeeded:
            await self._phase("SyncFail")
        self._say_ended(operation)
        return operation

    def terminate(self) -> None:
        """Press Terminate: running hooks are deleted, and the operation has failed at once; SyncFail never runs."""
        self._terminated = True
        self._tell(Fact(time.time(), "somebody", "presses Terminate", tone=Tone.WARNING))
        self._say_ended(TERMINATED)
        for job in self._running:
            job.delete()

    def drain_node(self) -> None:
        """Drain the node on which the running hook is."""
        self._tell(Fact(time.time(), "somebody", "drains the node", "of the running hook", Tone.WARNING))
        for job in self._running:
            job.disrupt()

    async def run_by_hand(self, *command: str) -> JobEnd:
        """Create the Job of the CronJob that runs this command. Raises ManifestError where there is none."""
        for job in self._jobs:
            if manifests.command(job) == command:
                return await self._run_job(job)
        raise ManifestError(f"no CronJob in it runs {' '.join(command)}")

    async def _run_job(self, manifest: Manifest) -> JobEnd:
        """Create one Job and wait for its condition."""
        job = Job(manifest, self._secrets, pod_backoff_seconds=self._pod_backoff_seconds)
        self._running.add(job)
        try:
            return await job.run(self._runner, _Watching(self.runs, self._tell))
        finally:
            self._running.remove(job)

    async def _phase(self, phase: str) -> bool:
        hooks = [job for job in self._jobs if phase in _phases(job)]
        if hooks:
            self._tell(Fact(time.time(), phase, "begins", tone=Tone.PHASE))
        for _, wave in groupby(sorted(hooks, key=_wave), key=_wave):
            if not all(await asyncio.gather(*(self._run_hook(hook) for hook in wave))):
                return False
        return True

    async def _run_hook(self, hook: Manifest) -> bool:
        end = await self._run_job(hook)
        if end.condition == "Failed":
            self._say(f"{hook['metadata']['name']} has failed", end.message, Tone.BAD)
        return end.condition == "Complete"

    async def _apply(self, roll_out: Callable[[], Awaitable[None]]) -> bool:
        self._tell(Fact(time.time(), "Sync", "begins", tone=Tone.PHASE))
        await roll_out()
        return not self._terminated

    def _say_ended(self, operation: Operation) -> None:
        tone = Tone.GOOD if operation is SUCCEEDED else Tone.BAD
        self._say(f"operation {operation.phase}", operation.message, tone)

    def _say(self, what: str, more: str, tone: Tone) -> None:
        self._tell(Fact(time.time(), "Argo CD", what, more, tone))


class _Watching:
    """Keeps how the pods of one Job end, and tells of what a person wants to know."""

    def __init__(self, runs: list[CommandRun], tell: Tell) -> None:
        self._runs = runs
        self._tell = tell

    def pod_started(self, pod: Pod) -> None:
        self._run = CommandRun(pod.command[0])
        self._runs.append(self._run)
        self._say("starts", " ".join(pod.command[1:]))

    def pod_printed(self, line: str) -> None:
        record = _record(line)
        if record is None:
            self._run.strays.append(line)
            self._say("prints", line, Tone.BAD)
        elif record["event"] == "verdict":
            self._run.verdict = record
        elif record.get("level") in WARNINGS and record["event"] not in TOLD_BY_THE_OMS:
            self._say(record["event"].replace("_", " "), _rest(record), Tone.WARNING)

    def pod_interrupted(self, why: Interruption) -> None:
        self._say("gets SIGTERM", why.value, Tone.WARNING)

    def pod_ended(self, end: PodEnd) -> None:
        self._run.exit_code = end.exit_code
        tone = Tone.BAD if end.exit_code else Tone.GOOD
        how = str(self._run).removeprefix(f"{self._run.command} ")
        self._say(how, self._run.verdict.get("reason", "killed" if end.killed else ""), tone)

    def _say(self, what: str, more: str, tone: Tone = Tone.PLAIN) -> None:
        self._tell(Fact(time.time(), self._run.command, what, more, tone))


def _phases(job: Manifest) -> list[str]:
    annotations = job["metadata"].get("annotations", {})
    return [phase.strip() for phase in annotations.get(HOOK, "").split(",")]


def _wave(job: Manifest) -> int:
    return int(job["metadata"].get("annotations", {}).get(WAVE, "0"))


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "event" in record else None


def _rest(record: dict[str, Any]) -> str:
    """Tell what a log line says beside the event itself."""
    known = {"timestamp", "level", "event", "hook", "elapsed_seconds"}
    return ", ".join(
        f"{key} {shorten(_listed(value), 60)}" for key, value in record.items() if key not in known
    )


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
