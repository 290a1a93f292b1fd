"""A Job from its creation to its condition, as the Job controller and the kubelet bring it there."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import uuid
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from rehearsal import manifests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rehearsal.manifests import Manifest, Pod, Secrets

# What Kubernetes takes where a manifest is silent.
BACKOFF_LIMIT = 6
GRACE_SECONDS = 30.0
# Before the second pod; doubled before each one after it, up to the limit.
POD_BACKOFF_SECONDS = 10.0
POD_BACKOFF_MOST_SECONDS = 360.0


class RunningPod(Protocol):
    async def ended(self) -> int:
        """Wait for its end; the exit code as the kubelet reports it, a signal as 128 and its number."""

    def terminate(self) -> None:
        """SIGTERM."""

    def kill(self) -> None:
        """SIGKILL to all that is left of it."""


class RunnerError(Exception):
    """What runs the pods is not there, or refuses."""


class Runner(Protocol):
    @property
    def changes(self) -> Sequence[tuple[str, str]]:
        """What of the manifests is not as written when this runs them, each with what became of it."""

    def resolve(self, table: Mapping[str, Sequence[str]]) -> None:
        """Let these names resolve to these addresses from now on, and to none where there are none."""

    async def start(self, pod: Pod, tell: Callable[[str], None]) -> RunningPod:
        """Start the pod; `tell` gets every line that it prints."""


class Interruption(Enum):
    """Why somebody else ends a pod."""

    DISRUPTED = "its node is drained"
    DELETED = "the Job is deleted"
    DEADLINE = "activeDeadlineSeconds have passed"


class Action(Enum):
    """What podFailurePolicy says to a failed pod."""

    IGNORE = "Ignore"
    FAIL_JOB = "FailJob"
    COUNT = "Count"


@dataclass(frozen=True)
class PodEnd:
    pod: Pod
    exit_code: int
    interruption: Interruption | None = None
    killed: bool = False  # it outlived terminationGracePeriodSeconds


@dataclass(frozen=True)
class JobEnd:
    """What Argo CD would read: the condition with its reason and message."""

    condition: str  # Complete or Failed; Deleted where no Job is left to have one
    reason: str = ""
    message: str = ""


class Watcher(Protocol):
    """Who is told while a Job runs."""

    def pod_started(self, pod: Pod) -> None: ...
    def pod_printed(self, line: str) -> None: ...
    def pod_interrupted(self, why: Interruption) -> None: ...
    def pod_ended(self, end: PodEnd) -> None: ...


class Job:
    """One Job object; it is run once."""

    def __init__(
        self, manifest: Manifest, secrets: Secrets, *, pod_backoff_seconds: float = POD_BACKOFF_SECONDS
    ) -> None:
        self.name: str = manifest["metadata"]["name"]
        self._manifest = manifest
        self._spec = manifest["spec"]
        self._secrets = secrets
        self._pod_backoff_seconds = pod_backoff_seconds
        self._uid = str(uuid.uuid4())
        self._why: Interruption | None = None
        self._interrupted = asyncio.Event()

    async def run(self, runner: Runner, watcher: Watcher) -> JobEnd:
        """Bring it to its end: at most `activeDeadlineSeconds` and one grace period.

        Raises ManifestError for a pod that is not played.
        """
        deadline = self._spec.get("activeDeadlineSeconds")
        timer = deadline and asyncio.get_running_loop().call_later(
            deadline, self._interrupt, Interruption.DEADLINE
        )
        try:
            return await self._run_pods(runner, watcher)
        finally:
            if timer:
                timer.cancel()

    def delete(self) -> None:
        """Delete it, and with it its pod, as Argo CD's Terminate does."""
        self._interrupt(Interruption.DELETED)

    def disrupt(self) -> None:
        """Evict the pod that runs, as a drained node does."""
        self._interrupt(Interruption.DISRUPTED)

    def _interrupt(self, why: Interruption) -> None:
        if self._why in {None, Interruption.DISRUPTED}:
            self._why = why
        self._interrupted.set()

    async def _run_pods(self, runner: Runner, watcher: Watcher) -> JobEnd:
        failures = 0
        while True:
            end = await self._run_pod(runner, watcher)
            watcher.pod_ended(end)
            action, message = judge(self._manifest, end) if end.exit_code else (None, "")
            failures += action is Action.COUNT
            if condition := self._condition(end, action, message, failures):
                return condition
            if action is Action.COUNT:
                await self._back_off(failures)
                if condition := self._condition(end, action, message, failures):
                    return condition

    async def _run_pod(self, runner: Runner, watcher: Watcher) -> PodEnd:
        if self._why is Interruption.DISRUPTED:
            self._why = None
            self._interrupted.clear()
        name = f"{self.name}-{secrets.token_hex(3)[:5]}"
        pod = manifests.pod(self._manifest, name=name, uid=self._uid, secrets=self._secrets)
        watcher.pod_started(pod)
        running = await runner.start(pod, watcher.pod_printed)
        try:
            return await self._watch_pod(pod, running, watcher)
        finally:
            running.kill()
            await running.ended()

    async def _watch_pod(self, pod: Pod, running: RunningPod, watcher: Watcher) -> PodEnd:
        async with asyncio.TaskGroup() as tasks:
            ended = tasks.create_task(running.ended())
            interrupted = tasks.create_task(self._interrupted.wait())
            await asyncio.wait({ended, interrupted}, return_when=asyncio.FIRST_COMPLETED)
            interrupted.cancel()
            if ended.done() or not self._why:
                return PodEnd(pod, await ended)
            why = self._why
            watcher.pod_interrupted(why)
            running.terminate()
            await asyncio.wait({ended}, timeout=self._grace_seconds)
            killed = not ended.done()
            running.kill()
            return PodEnd(pod, await ended, why, killed)

    async def _back_off(self, failures: int) -> None:
        delay = min(self._pod_backoff_seconds * 2 ** (failures - 1), POD_BACKOFF_MOST_SECONDS)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._interrupted.wait(), delay)

    def _condition(self, end: PodEnd, action: Action | None, message: str, failures: int) -> JobEnd | None:
        """Look in the order in which the Job controller does."""
        if self._why is Interruption.DELETED:
            return JobEnd("Deleted")
        if self._why is Interruption.DEADLINE:
            return JobEnd("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        if action is Action.FAIL_JOB:
            return JobEnd("Failed", "PodFailurePolicy", message)
        if failures > self._spec.get("backoffLimit", BACKOFF_LIMIT):
            return JobEnd("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        return None if end.exit_code else JobEnd("Complete")

    @property
    def _grace_seconds(self) -> float:
        grace: float = self._spec["template"]["spec"].get("terminationGracePeriodSeconds", GRACE_SECONDS)
        return grace


def judge(job: Manifest, end: PodEnd) -> tuple[Action, str]:
    """Apply podFailurePolicy to a failed pod; for a FailJob, with the message that Argo CD shows."""
    container = job["spec"]["template"]["spec"]["containers"][0]["name"]
    pod = f"{job['metadata'].get('namespace', 'default')}/{end.pod.name}"
    for index, rule in enumerate(job["spec"].get("podFailurePolicy", {}).get("rules", ())):
        if what := _matched(rule, end, container, pod):
            return Action(rule["action"]), f"{what} matching {rule['action']} rule at index {index}"
    return Action.COUNT, ""


def _matched(rule: Manifest, end: PodEnd, container: str, pod: str) -> str | None:
    if codes := rule.get("onExitCodes"):
        named = codes.get("containerName", container) == container
        if named and (end.exit_code in codes["values"]) is (codes["operator"] == "In"):
            return f"Container {container} for pod {pod} failed with exit code {end.exit_code}"
        return None
    disrupted = end.interruption is Interruption.DISRUPTED
    if disrupted and any(condition["type"] == "DisruptionTarget" for condition in rule["onPodConditions"]):
        return f"Pod {pod} has condition DisruptionTarget"
    return None
