"""How a rehearsal plays Jobs: as the Job controller and the kubelet do, with commands that stand in for hooks."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rehearsal import manifests
from rehearsal.argo import OURS, jobs_in
from rehearsal.job import Action, Interruption, Job, JobEnd, PodEnd, judge
from rehearsal.manifests import Manifest, ManifestError, Pod
from rehearsal.process_runner import ProcessRunner

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
OBEDIENT = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); print('up', flush=True); time.sleep(60)"
IGNORE: Manifest = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
FAIL_JOB: Manifest = {
    "action": "FailJob",
    "onExitCodes": {"containerName": "hook", "operator": "NotIn", "values": [0]},
}
FAIL_ON_2: Manifest = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2]}}
DEADLINE = JobEnd("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
BACKOFF = JobEnd("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")


def job(program: str, *, grace: float = 30, rules: list[Manifest] | None = None, **spec: Any) -> Manifest:
    """Write a Job whose pod runs a Python program."""
    policy = {"podFailurePolicy": {"rules": rules}} if rules else {}
    container = {"name": "hook", "command": [sys.executable, "-c", program], "env": []}
    pod = {"terminationGracePeriodSeconds": grace, "containers": [container]}
    return {
        "metadata": {"name": "stand-in"},
        "spec": {"backoffLimit": 0, **spec, **policy, "template": {"spec": pod}},
    }


def ends_in_turn(tmp_path: Path, *codes: int) -> str:
    """Write a program that ends with each of these codes in turn, a pod each."""
    return (
        "import pathlib, sys\n"
        f"turns = pathlib.Path({str(tmp_path)!r}, 'turns'); turn = len(turns.read_text()) if turns.exists() else 0\n"
        f"turns.write_text('x' * (turn + 1)); sys.exit({codes!r}[turn])"
    )


@dataclass
class Seen:
    """Who watches a Job in these tests."""

    pods: list[Pod] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    ends: list[PodEnd] = field(default_factory=list)
    printing: asyncio.Event = field(default_factory=asyncio.Event)

    def pod_started(self, pod: Pod) -> None:
        self.pods.append(pod)

    def pod_printed(self, line: str) -> None:
        self.lines.append(line)
        self.printing.set()

    def pod_interrupted(self, why: Interruption) -> None:
        pass

    def pod_ended(self, end: PodEnd) -> None:
        self.ends.append(end)

    @property
    def codes(self) -> list[int]:
        return [end.exit_code for end in self.ends]


@pytest.fixture
def seen() -> Seen:
    return Seen()


Running = Callable[..., Awaitable[JobEnd]]


@pytest.fixture
def runner(tmp_path: Path) -> ProcessRunner:
    (tmp_path / "pods").mkdir()
    return ProcessRunner(tmp_path / "pods")


@pytest.fixture
def running(seen: Seen, runner: ProcessRunner) -> Running:
    """Run a Job to its end; with `then`, do that to it once its first pod has printed something."""

    async def run(manifest: Manifest, then: Callable[[Job], None] | None = None) -> JobEnd:
        played = Job(manifest, {}, pod_backoff_seconds=0.01)
        ending = asyncio.ensure_future(played.run(runner, seen))
        if then:
            await seen.printing.wait()
            then(played)
        return await ending

    return run


async def test_a_pod_that_ends_with_0_completes_its_job(running: Running, seen: Seen) -> None:
    """One success is enough."""
    assert await running(job("")) == JobEnd("Complete")
    assert seen.codes == [0]


async def test_failures_are_retried_up_to_the_limit(running: Running, seen: Seen, tmp_path: Path) -> None:
    """`backoffLimit: 2` is three pods."""
    assert await running(job(ends_in_turn(tmp_path, 3, 1, 70), backoffLimit=2)) == BACKOFF
    assert seen.codes == [3, 1, 70]


async def test_a_retry_may_succeed(running: Running, seen: Seen, tmp_path: Path) -> None:
    """The next pod's success is the Job's; all its pods carry the same uid."""
    program = ends_in_turn(tmp_path, 3, 0)
    manifest = job(program, backoffLimit=2)
    path = "metadata.labels['batch.kubernetes.io/controller-uid']"
    env = manifest["spec"]["template"]["spec"]["containers"][0]["env"]
    env.append({"name": "HOOK_RUN_ID", "valueFrom": {"fieldRef": {"fieldPath": path}}})
    assert await running(manifest) == JobEnd("Complete")
    assert seen.codes == [3, 0]
    assert len({pod.environment["HOOK_RUN_ID"] for pod in seen.pods}) == 1
    assert len({pod.name for pod in seen.pods}) == 2


async def test_fail_job_ends_it_at_once_and_says_the_code(
    running: Running, seen: Seen, tmp_path: Path
) -> None:
    """No retry is left to a code that FailJob names, and Argo CD reads the code."""
    end = await running(job(ends_in_turn(tmp_path, 1, 2), backoffLimit=5, rules=[IGNORE, FAIL_ON_2]))
    assert seen.codes == [1, 2]
    pod = seen.pods[-1].name
    message = f"Container hook for pod default/{pod} failed with exit code 2 matching FailJob rule at index 1"
    assert end == JobEnd("Failed", "PodFailurePolicy", message)


async def test_a_disruption_is_not_counted(running: Running, seen: Seen, tmp_path: Path) -> None:
    """A drained node costs no attempt: with `backoffLimit: 0` there is another pod all the same."""
    once = tmp_path / "once"
    program = f"import pathlib, sys; once = pathlib.Path({str(once)!r})\nif once.exists(): sys.exit(0)\nonce.touch()\n{OBEDIENT}"
    assert await running(job(program, rules=[IGNORE, FAIL_JOB]), Job.disrupt) == JobEnd("Complete")
    assert seen.codes == [143, 0]
    assert [end.interruption for end in seen.ends] == [Interruption.DISRUPTED, None]


async def test_the_deadline_terminates(running: Running, seen: Seen) -> None:
    """SIGTERM comes first, and one that obeys it is not killed."""
    assert await running(job(OBEDIENT, activeDeadlineSeconds=1, backoffLimit=3)) == DEADLINE
    assert [(end.exit_code, end.killed) for end in seen.ends] == [(143, False)]


async def test_the_deadline_kills_what_does_not_listen(running: Running, seen: Seen) -> None:
    """SIGKILL comes after the grace period; the verdict waits for it."""
    loop = asyncio.get_running_loop()
    passed = []

    def deadline(played: Job) -> None:
        passed.append(loop.time())
        played._interrupt(Interruption.DEADLINE)

    assert await running(job(DEAF, grace=0.5), deadline) == DEADLINE
    assert [(end.exit_code, end.killed) for end in seen.ends] == [(137, True)]
    assert loop.time() - passed[0] >= 0.5


async def test_deleting_a_job_ends_its_pod(running: Running, seen: Seen) -> None:
    """Terminate deletes the Job: the pod gets SIGTERM, and no condition is left to read."""
    assert await running(job(OBEDIENT, backoffLimit=3), Job.delete) == JobEnd("Deleted")
    assert seen.codes == [143]


async def test_nothing_outlives_a_rehearsal_that_is_cancelled(running: Running, seen: Seen) -> None:
    """Ctrl-C kills at once, without waiting for any grace period."""
    task = asyncio.ensure_future(running(job(f"import os; print(os.getpid(), flush=True); {DEAF}")))
    await seen.printing.wait()
    task.cancel()
    await asyncio.wait({task})
    with pytest.raises(ProcessLookupError):
        os.kill(int(seen.lines[0]), 0)


@pytest.mark.parametrize(
    ("rules", "code", "interruption", "expected"),
    [
        pytest.param([], 1, None, Action.COUNT, id="without rules every failure counts"),
        pytest.param([IGNORE, FAIL_JOB], 1, None, Action.FAIL_JOB, id="any code but 0 fails the Job"),
        pytest.param([IGNORE, FAIL_JOB], 143, None, Action.FAIL_JOB, id="a signal from elsewhere is a code"),
        pytest.param(
            [IGNORE, FAIL_JOB], 143, Interruption.DISRUPTED, Action.IGNORE, id="a drained node is ignored"
        ),
        pytest.param(
            [FAIL_JOB, IGNORE], 143, Interruption.DISRUPTED, Action.FAIL_JOB, id="the first rule wins"
        ),
        pytest.param([IGNORE, FAIL_ON_2], 2, None, Action.FAIL_JOB, id="misconfigured is not retried"),
        pytest.param([IGNORE, FAIL_ON_2], 3, None, Action.COUNT, id="what no rule names counts"),
        pytest.param(
            [{**FAIL_JOB, "onExitCodes": {**FAIL_JOB["onExitCodes"], "containerName": "proxy"}}],
            1,
            None,
            Action.COUNT,
            id="another container's rule is not ours",
        ),
    ],
)
def test_pod_failure_policy(
    rules: list[Manifest], code: int, interruption: Interruption | None, expected: Action
) -> None:
    """Rules are tried in order; the first that matches decides."""
    end = PodEnd(Pod("stand-in-1", (), {}, {}), code, interruption)
    assert judge(job("", rules=rules), end)[0] is expected


def pod_of(manifest: Manifest, **secrets: dict[str, str]) -> Pod:
    return manifests.pod(manifest, name="stand-in-1", uid="0f", secrets=secrets)


def with_secret(manifest: Manifest, *, optional: bool) -> Manifest:
    """Mount the key TOKEN of the Secret `oms` in a Job's pod."""
    spec = manifest["spec"]["template"]["spec"]
    spec["containers"][0]["volumeMounts"] = [{"name": "secrets", "mountPath": "/etc/hooks"}]
    secret = {"name": "oms", "optional": optional, "items": [{"key": "TOKEN", "path": "OMS_TOKEN"}]}
    spec["volumes"] = [{"name": "secrets", "projected": {"sources": [{"secret": secret}]}}]
    return manifest


async def test_secrets_are_files_that_the_pod_alone_has(running: Running, runner: ProcessRunner) -> None:
    """A mounted Secret is a file where the environment says; no variable holds it."""
    program = "import os, pathlib; print(pathlib.Path(os.environ['SECRETS_DIR'], 'OMS_TOKEN').read_text())"
    manifest = manifests.with_variables(
        with_secret(job(program), optional=False), {"SECRETS_DIR": "/etc/hooks"}
    )
    pod = pod_of(manifest, oms={"TOKEN": "s3cret"})
    printed: list[str] = []
    started = await runner.start(pod, printed.append)
    assert (await started.ended(), printed) == (0, ["s3cret"])
    assert "s3cret" not in pod.environment.values()


async def test_the_environment_is_the_manifests(
    runner: ProcessRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the machine's own environment comes along but the way to the commands."""
    monkeypatch.setenv("OMS_URL", "http://of-this-machine")
    program = "import os; print(sorted(set(os.environ) - {'LC_CTYPE'}))"
    manifest = manifests.with_variables(job(program), {"OMS_REASON": "argocd-sync/oms"})
    printed: list[str] = []
    started = await runner.start(pod_of(manifest), printed.append)
    await started.ended()
    assert printed == ["['OMS_REASON', 'PATH', 'PYTHONPATH', 'TERMINATION_LOG']"]


def test_an_optional_secret_may_be_missing() -> None:
    """The pod starts without the file."""
    assert pod_of(with_secret(job(""), optional=True)).files == {"/etc/hooks": {}}


def test_a_missing_secret_is_said_not_waited_for() -> None:
    """In a cluster the pod would wait for ever; nobody wants to watch that."""
    with pytest.raises(ManifestError, match="Secret oms lacks a key"):
        pod_of(with_secret(job(""), optional=False))


def test_what_is_not_played_is_said() -> None:
    """A manifest that asks for more than is played is refused rather than half obeyed."""
    manifest = job("")
    env = manifest["spec"]["template"]["spec"]["containers"][0]["env"]
    env.append({"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "oms", "key": "TOKEN"}}})
    with pytest.raises(ManifestError, match=r"TOKEN: .* is not played"):
        pod_of(manifest)


def hook(phase: str, **metadata: Any) -> Manifest:
    annotations = {"argocd.argoproj.io/hook": phase}
    described = {"name": f"oms-{phase}", "annotations": annotations, "labels": OURS}
    return {"kind": "Job", **job(""), "metadata": {**described, **metadata}}


def test_hooks_and_what_on_call_starts_are_played() -> None:
    """Of all that is rendered: our hooks, in the Application's namespace, and the Job of our every CronJob."""
    hooks = [hook("PreSync"), hook("PostSync", namespace="oms-hooks"), hook("SyncFail")]
    migration = hook("PreSync", labels={})
    by_hand = {
        "kind": "CronJob",
        "metadata": {"name": "oms-return-to-active", "labels": OURS},
        "spec": {"suspend": True, "jobTemplate": {"spec": job("")["spec"]}},
    }
    jobs = jobs_in([by_hand, migration, *hooks])
    assert [(found["metadata"]["namespace"], found["metadata"]["name"]) for found in jobs] == [
        ("trading", "oms-PreSync"),
        ("oms-hooks", "oms-PostSync"),
        ("trading", "oms-SyncFail"),
        ("trading", "oms-return-to-active"),
    ]
    assert jobs[-1]["spec"] == migration["spec"]


def test_a_phase_without_a_hook_is_said() -> None:
    """A rehearsal without its page would prove the wrong thing."""
    with pytest.raises(ManifestError, match="none of our Jobs in it is a SyncFail hook"):
        jobs_in([hook("PreSync,PostSync")])


def test_a_token_of_the_cluster_is_left_out() -> None:
    """There is no Kubernetes API here; the Secrets beside the token are mounted."""
    manifest = with_secret(job(""), optional=False)
    sources = manifest["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"]
    sources.append({"serviceAccountToken": {"path": "token"}})
    assert pod_of(manifest, oms={"TOKEN": "s3cret"}).files == {"/etc/hooks": {"OMS_TOKEN": "s3cret"}}


def test_a_directory_that_cannot_be_rendered_is_said(tmp_path: Path) -> None:
    """The words are kubectl's."""
    with pytest.raises(ManifestError, match="kustomization"):
        manifests.render(tmp_path)


async def test_names_of_the_cluster_are_looked_up_in_a_table(runner: ProcessRunner) -> None:
    """A pod sees every address, then that the table has changed; other names are looked up as ever."""
    program = """
import socket, sys
def look_up(name):
    try:
        return sorted({found[4][0] for found in socket.getaddrinfo(name, 80, socket.AF_INET)})
    except socket.gaierror as error:
        return error.errno == socket.EAI_NONAME
for name in ("oms.cluster", "127.0.0.9"):
    print(look_up(name), flush=True)
while isinstance(look_up("oms.cluster"), list):
    pass
print(look_up("oms.cluster"))
"""
    printed: list[str] = []

    def tell(line: str) -> None:
        printed.append(line)
        if len(printed) == 2:
            runner.resolve({"oms.cluster": []})

    runner.resolve({"oms.cluster": ["127.0.0.3", "127.0.0.4"]})
    await (await runner.start(pod_of(job(program)), tell)).ended()
    assert printed == ["['127.0.0.3', '127.0.0.4']", "['127.0.0.9']", "True"]
