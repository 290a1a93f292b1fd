"""What the Kubernetes API tells of the Application's operation, over real TLS; and what it cannot be made to do."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from hooks import argocd, redaction
from hooks.argocd import FailedResource, Operation, Reading, read_operation
from hooks.attempt import Answer
from hooks.settings import Alert
from hooks.waiting import Deadline
from tests.applications import (
    APPLIED,
    APPLY_FAILED,
    CHART_REVISION,
    DEGRADED,
    FAILED_SYNCS,
    IN_STANDBY,
    PAGING,
    POSTSYNC_FAILED,
    PRESYNC_FAILED,
    REVISION,
    application,
    result,
    synced_by,
)
from tests.conftest import Loading, Serving
from tests.hostile.certificates import Authorities
from tests.hostile.peer import (
    Behaviour,
    Peer,
    drip,
    in_turn,
    ok_head,
    redirect,
    reply,
    reply_json,
    reset_after,
    silence,
)

TOKEN = "eyJhbGciOi.the-pods-own.token-Zx81kQ"
ADDRESS = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/oms"
AT_ONCE = 20.0
"""An answer that did not wait for the gathering's end came within this, also on a loaded machine."""

GATHERING = 60.0
"""What is given where the end must come long before."""

FORBIDDEN = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Failure",
    "message": 'applications.argoproj.io "oms" is forbidden: User "system:serviceaccount:trading:default" '
    'cannot get resource "applications" in API group "argoproj.io" in the namespace "argocd"',
    "reason": "Forbidden",
    "code": 403,
}

PRESYNC = FailedResource(
    "PreSync", "Job/oms-presync-standby", "Job was active longer than specified deadline"
)


class Ask(Protocol):
    """Asks an API for the Application."""

    async def __call__(self, api: Peer, *, seconds: float = GATHERING, **variables: str) -> Reading: ...


@pytest.fixture
def service_account(tmp_path: Path, authorities: Authorities) -> Path:
    """Mount a service account as the kubelet does."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "ca.crt").write_bytes(authorities.ca_file.read_bytes())
    return tmp_path


@pytest.fixture
def ask(loading: Loading, service_account: Path) -> Ask:
    """Ask as syncfail-alert does, for so many seconds."""

    async def ask(api: Peer, *, seconds: float = GATHERING, **variables: str) -> Reading:
        environment = {
            "ARGOCD_APP_NAME": "oms",
            "SERVICE_ACCOUNT_DIR": str(service_account),
            "KUBERNETES_SERVICE_HOST": api.host,
            "KUBERNETES_SERVICE_PORT": str(api.port),
            "ALERT_GATHER_SECONDS": str(seconds),
        }
        return await read_operation(loading(Alert, **environment | variables), Deadline(seconds))

    return ask


class Kubernetes(Protocol):
    """Serves an API whose authority the pod knows."""

    def __call__(self, *behaviours: Behaviour) -> Peer: ...


@pytest.fixture
def kubernetes(serving: Serving, authorities: Authorities) -> Kubernetes:
    """Answer in turn."""
    return lambda *behaviours: serving(in_turn(*behaviours), tls=authorities.server())


def of(*resources: Any, **state: Any) -> Operation | None:
    """Return what is understood of an Application's operation."""
    return understood(application(*resources, **state)).operation


def understood(document: Any) -> Reading:
    """Return what is understood of an answer with this document."""
    return argocd._read(Answer(200, json.dumps(document).encode()))


# How it is asked


async def test_it_asks_for_its_own_application_with_the_pods_token(ask: Ask, kubernetes: Kubernetes) -> None:
    """One GET, over TLS that verifies, with nothing but the service account."""
    api = kubernetes(reply_json(FAILED_SYNCS["presync-hook-failed"]))

    reading = await ask(api)

    assert reading == Reading(Operation(REVISION, "PreSync", (PRESYNC,), "automated sync"))
    [request] = api.requests
    assert (request.method, request.address) == ("GET", ADDRESS)
    assert request.header("authorization") == f"Bearer {TOKEN}"


async def test_the_names_are_those_of_the_environment(ask: Ask, kubernetes: Kubernetes) -> None:
    """Names are put into the path so that they cannot be another one."""
    api = kubernetes(reply_json(application(PRESYNC_FAILED)))

    await ask(api, ARGOCD_APP_NAMESPACE="teams/a", ARGOCD_APP_NAME="oms?x=1#y")

    [request] = api.requests
    assert request.address.endswith("/namespaces/teams%2Fa/applications/oms%3Fx%3D1%23y")


async def test_no_proxy_of_the_environment_is_used(
    ask: Ask, kubernetes: Kubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token goes to the API alone."""
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")

    assert (await ask(kubernetes(reply_json(application(PRESYNC_FAILED))))).operation


async def test_the_token_is_hidden_from_then_on(ask: Ask, kubernetes: Kubernetes) -> None:
    """An API that echoes it does not bring it into the page."""
    reading = await ask(kubernetes(reply(403, f"no, {TOKEN} may not".encode())))

    assert reading == Reading(problem="the Application cannot be read: answered 403 no, [redacted] may not")
    assert redaction.redact(TOKEN) == "[redacted]"


async def test_a_redirect_is_not_followed(
    ask: Ask, kubernetes: Kubernetes, serving: Serving, authorities: Authorities
) -> None:
    """The token is for this API and no other."""
    elsewhere = serving(reply_json(application(PRESYNC_FAILED)), tls=authorities.server())

    reading = await ask(kubernetes(redirect(302, f"{elsewhere.url}{ADDRESS}")))

    assert reading.problem == "the Application cannot be read: answered 302 elsewhere"
    assert elsewhere.requests == []


# Until when it is asked


async def test_it_is_asked_again_until_it_names_a_failed_resource(ask: Ask, kubernetes: Kubernetes) -> None:
    """Argo CD writes it after it has started the hook."""
    api = kubernetes(
        reply_json(application(syncResult=None)),
        reply_json(application(IN_STANDBY, PAGING)),
        reply_json(application(IN_STANDBY, DEGRADED, PAGING)),
    )
    began = time.monotonic()

    reading = await ask(api)

    assert reading.operation == of(IN_STANDBY, DEGRADED, PAGING)
    assert len(api.requests) == 3
    assert time.monotonic() - began < 0.9 + AT_ONCE


async def test_what_names_no_failed_resource_is_told_at_the_end(ask: Ask, kubernetes: Kubernetes) -> None:
    """It is never waited for longer than ALERT_GATHER_SECONDS; revision and phase are worth telling."""
    began = time.monotonic()

    reading = await ask(kubernetes(reply_json(application(IN_STANDBY, APPLIED, PAGING))), seconds=1.2)

    assert reading == Reading(Operation(REVISION, "Sync", (), "automated sync"))
    assert 1.2 <= time.monotonic() - began < 1.2 + AT_ONCE


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(reply(500, b"etcd is compacting"), id="500"),
        pytest.param(reply(429, b"slow down"), id="429"),
        pytest.param(reset_after(), id="a reset"),
        pytest.param(reply(200, b"{"), id="half a document"),
        pytest.param(reply_json({"status": {}}), id="no operation yet"),
    ],
)
async def test_what_passes_is_asked_again(trouble: Behaviour, ask: Ask, kubernetes: Kubernetes) -> None:
    """One bad answer is not the last word."""
    api = kubernetes(trouble, reply_json(application(PRESYNC_FAILED)))

    assert (await ask(api)).operation == of(PRESYNC_FAILED)


async def test_a_good_answer_is_not_forgotten_for_a_bad_one(ask: Ask, kubernetes: Kubernetes) -> None:
    """What was known before the API went away is told."""
    api = kubernetes(reply_json(application(IN_STANDBY)), reply(503, b"going away"))

    assert await ask(api, seconds=1.2) == Reading(of(IN_STANDBY))
    assert len(api.requests) >= 2


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(silence, id="silent"),
        pytest.param(drip(b" ", after=ok_head("Content-Length: 1000000")), id="dripping"),
        pytest.param(reply(503, b"busy"), id="busy"),
    ],
)
async def test_an_api_that_hangs_is_given_up_in_time(
    behaviour: Behaviour, ask: Ask, kubernetes: Kubernetes
) -> None:
    """The page does not wait for it; why it says nothing of the Application is told."""
    began = time.monotonic()

    reading = await ask(kubernetes(behaviour), seconds=0.8)

    assert reading.operation is None
    assert str(reading.problem).startswith("the Application cannot be read: ")
    assert 0.8 <= time.monotonic() - began < 0.8 + AT_ONCE


async def test_why_it_said_no_is_told_although_the_last_attempt_was_cut_short(
    ask: Ask, kubernetes: Kubernetes
) -> None:
    """That the time was over is no news; what the API answered before is."""
    api = kubernetes(reply(503, b"busy"), silence)

    reading = await ask(api, seconds=0.8)

    assert reading.problem == "the Application cannot be read: answered 503 busy"
    assert len(api.requests) == 2


async def test_without_time_it_is_not_asked(ask: Ask, kubernetes: Kubernetes) -> None:
    """SIGTERM may have used it up; that it was not asked is told."""
    api = kubernetes(reply_json(application(PRESYNC_FAILED)))

    assert await ask(api, seconds=1e-9) == Reading(problem="the Application was not asked for")
    assert api.requests == []


# What ends it at once


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param(reply(401, b"Unauthorized"), "answered 401 Unauthorized", id="401"),
        pytest.param(reply_json(FORBIDDEN, 403), "answered 403 ", id="no RBAC"),
        pytest.param(reply(404, b"not found"), "answered 404 not found", id="no such Application"),
    ],
)
async def test_who_may_not_ask_asks_once(
    answer: Behaviour, problem: str, ask: Ask, kubernetes: Kubernetes
) -> None:
    """The page goes out without delay, and says what could not be read."""
    api = kubernetes(answer, reply_json(application(PRESYNC_FAILED)))
    began = time.monotonic()

    reading = await ask(api)

    assert reading.operation is None
    assert str(reading.problem).startswith(f"the Application cannot be read: {problem}")
    assert len(api.requests) == 1
    assert time.monotonic() - began < AT_ONCE


async def test_what_a_missing_role_is_told_as(ask: Ask, kubernetes: Kubernetes) -> None:
    """Who reads the page sees which account lacks which right, and not the JSON around it."""
    reading = await ask(kubernetes(reply_json(FORBIDDEN, 403)))

    assert reading.problem is not None
    assert "system:serviceaccount:trading:default" in reading.problem
    assert 'cannot get resource "applications"' in reading.problem


@pytest.mark.parametrize("which", ["unknown", "expired"])
async def test_an_api_that_is_not_trusted_is_not_told_the_token(
    which: str, ask: Ask, serving: Serving, authorities: Authorities
) -> None:
    """A certificate that does not verify ends it at once."""
    server = authorities.server_of_unknown() if which == "unknown" else authorities.server_that_expired()
    api = serving(reply_json(application(PRESYNC_FAILED)), tls=server)
    began = time.monotonic()

    reading = await ask(api)

    assert str(reading.problem).startswith(
        "the Application cannot be read: its certificate does not verify: "
    )
    assert api.requests == []
    assert time.monotonic() - began < AT_ONCE


async def test_an_api_of_another_name_is_not_told_the_token(
    ask: Ask, serving: Serving, authorities: Authorities
) -> None:
    """The certificate must be this host's."""
    api = serving(reply_json(application(PRESYNC_FAILED)), tls=authorities.server("kubernetes.example"))

    assert "its certificate does not verify" in str((await ask(api)).problem)
    assert api.requests == []


async def test_an_api_where_nobody_listens(ask: Ask, kubernetes: Kubernetes) -> None:
    """It may come back until the end."""
    api = kubernetes(reply_json(application(PRESYNC_FAILED)))
    api.close_port()

    assert await ask(api, seconds=0.6) == Reading(
        problem="the Application cannot be read: connection refused"
    )


# What cannot be asked with


def token_is(content: bytes | None) -> Any:
    """Return a change of the mounted token."""

    def change(account: Path) -> None:
        (account / "token").unlink()
        if content is not None:
            (account / "token").write_bytes(content)

    return change


def token_is_a_directory(account: Path) -> None:
    """Mount something else."""
    (account / "token").unlink()
    (account / "token").mkdir()


async def test_without_a_token_the_application_is_not_read(
    ask: Ask, service_account: Path, kubernetes: Kubernetes
) -> None:
    """A pod without a service account is no fault: nothing is told of it."""
    api = kubernetes(reply_json(application(PRESYNC_FAILED)))
    (service_account / "token").unlink()

    assert await ask(api) == Reading()
    assert await ask(api, SERVICE_ACCOUNT_DIR="/nowhere") == Reading()
    assert api.requests == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(token_is(b""), id="an empty token"),
        pytest.param(token_is(b"two\nlines"), id="a token of two lines"),
        pytest.param(token_is("tökén".encode()), id="a token that no header can hold"),
        pytest.param(token_is(b"\xff\xfe"), id="a token that is not UTF-8"),
        pytest.param(token_is_a_directory, id="a token that is a directory"),
        pytest.param(lambda account: (account / "ca.crt").unlink(), id="no authority"),
        pytest.param(lambda account: (account / "ca.crt").write_text(""), id="an empty authority"),
        pytest.param(
            lambda account: (account / "ca.crt").write_text("hello"), id="an authority that is none"
        ),
    ],
)
async def test_an_account_that_cannot_be_used_is_told(
    change: Any, ask: Ask, service_account: Path, kubernetes: Kubernetes
) -> None:
    """Nothing is sent, nothing is raised, nothing is waited for."""
    api = kubernetes(reply_json(application(PRESYNC_FAILED)))
    change(service_account)

    reading = await ask(api)

    assert reading.operation is None
    assert str(reading.problem).startswith("the Application cannot be asked for: ")
    assert api.requests == []


async def test_a_file_that_is_missing_is_named(
    ask: Ask, service_account: Path, kubernetes: Kubernetes
) -> None:
    """An error number alone helps nobody."""
    (service_account / "ca.crt").unlink()

    assert "ca.crt" in str((await ask(kubernetes(silence))).problem)


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"KUBERNETES_SERVICE_HOST": ""}, id="a host that is unset"),
        pytest.param({"KUBERNETES_SERVICE_HOST": "not a host"}, id="a host with blanks"),
        pytest.param({"KUBERNETES_SERVICE_HOST": "10.0.0.999"}, id="an address that is none"),
        pytest.param({"KUBERNETES_SERVICE_HOST": "a/b?c"}, id="a host with a path"),
        pytest.param({"KUBERNETES_SERVICE_HOST": "\N{SNOWMAN}."}, id="a snowman"),
        pytest.param({"KUBERNETES_SERVICE_HOST": "::zz"}, id="an IPv6 address that is none"),
        pytest.param({"SERVICE_ACCOUNT_DIR": 300 * "x"}, id="a directory whose name is too long"),
        pytest.param({"ARGOCD_APP_NAME": 70_000 * "x"}, id="a name that no request line can hold"),
    ],
)
async def test_an_environment_that_cannot_be_used_is_told(
    variables: dict[str, str], ask: Ask, kubernetes: Kubernetes
) -> None:
    """The other facts of the page must not be lost for it: nothing is raised."""
    reading = await ask(kubernetes(silence), seconds=0.5, **variables)

    assert reading.operation is None
    assert reading.problem


async def test_ipv6_clusters_have_ipv6_apis(ask: Ask, kubernetes: Kubernetes) -> None:
    """KUBERNETES_SERVICE_HOST is then an address without brackets."""
    reading = await ask(kubernetes(silence), seconds=0.5, KUBERNETES_SERVICE_HOST="::1")

    assert reading.problem == "the Application cannot be read: connection refused"


# What is understood


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(
            "presync-hook-failed",
            Operation(REVISION, "PreSync", (PRESYNC,), "automated sync"),
            id="a PreSync hook that failed",
        ),
        pytest.param(
            "apply-failed",
            Operation(
                REVISION,
                "Sync",
                (FailedResource("Sync", "Deployment/oms", APPLY_FAILED["message"]),),
                "alice@example.com",
            ),
            id="a resource that could not be applied",
        ),
        pytest.param(
            "resource-degraded",
            Operation(
                REVISION,
                "Sync",
                (
                    FailedResource(
                        "Sync", "Deployment/oms", 'Deployment "oms" exceeded its progress deadline'
                    ),
                ),
                "automated sync",
            ),
            id="a resource that became degraded",
        ),
        pytest.param(
            "postsync-hook-failed",
            Operation(
                REVISION,
                "PostSync",
                (
                    FailedResource(
                        "PostSync", "Job/oms-postsync-verify", "Job has reached the specified backoff limit"
                    ),
                ),
                "automated sync",
            ),
            id="a PostSync hook that failed",
        ),
        pytest.param(
            "failed-after-retries",
            Operation(
                REVISION,
                "Sync",
                (
                    FailedResource(
                        "Sync", "Deployment/oms", 'Deployment "oms" exceeded its progress deadline'
                    ),
                ),
                "automated sync",
                retries=3,
            ),
            id="the third retry",
        ),
        pytest.param(
            "several-sources",
            Operation(f"{REVISION}, {CHART_REVISION}", "PreSync", (PRESYNC,), "automated sync"),
            id="several sources",
        ),
        pytest.param(
            "nothing-failed-yet",
            Operation(REVISION, "Sync", (), "automated sync"),
            id="nothing that failed yet",
        ),
    ],
)
def test_what_a_failed_sync_is_understood_as(name: str, expected: Operation) -> None:
    """Revision, furthest phase, what failed and why, who began it, how often it was tried."""
    assert understood(FAILED_SYNCS[name]) == Reading(expected)


def test_everything_that_failed_is_told_in_its_order() -> None:
    """The first that failed is most often why; a message is one line."""
    operation = understood(FAILED_SYNCS["several-failed"]).operation

    assert operation is not None
    assert [str(failed)[:70] for failed in operation.failed] == [
        'Sync Deployment/oms failed: Deployment.apps "oms" is invalid: spec.sel',
        'Sync ConfigMap/oms-gateway failed: configmaps "oms-gateway" is forbidd',
        'Sync Service/oms-headless failed: admission webhook "policy.example.co',
    ]
    assert "\n" not in "".join(failed.message for failed in operation.failed)


def test_before_34_a_failed_hook_has_no_status() -> None:
    """It is known by its hookPhase."""
    failed = result("oms-presync-standby", phase="PreSync", outcome="Failed", status="")

    assert of(failed) == Operation(
        REVISION, "PreSync", (FailedResource("PreSync", "Job/oms-presync-standby", ""),), "automated sync"
    )


def test_a_hook_in_error_has_failed() -> None:
    """As much as one that is Failed."""
    assert of(result("check", phase="PreSync", outcome="Error"))


@pytest.mark.parametrize("outcome", ["Failed", "Error"])
def test_the_pager_itself_is_not_what_failed(outcome: str) -> None:
    """An earlier SyncFail hook that failed is not why the sync did."""
    pager = result("oms-syncfail-alert", phase="SyncFail", outcome=outcome, status="SyncFailed")

    assert of(IN_STANDBY, pager) == Operation(REVISION, "PreSync", (), "automated sync")


@pytest.mark.parametrize(
    ("resources", "furthest"),
    [
        pytest.param((), None, id="none"),
        pytest.param((PAGING,), None, id="none but the pager's"),
        pytest.param((PRESYNC_FAILED, PAGING), "PreSync", id="PreSync"),
        pytest.param((POSTSYNC_FAILED, IN_STANDBY, APPLIED), "PostSync", id="PostSync, in any order"),
        pytest.param((IN_STANDBY, result("x", phase="Cleanup")), "PreSync", id="a phase that we do not know"),
    ],
)
def test_the_furthest_phase_is_told(resources: tuple[Any, ...], furthest: str | None) -> None:
    """It decides whether the old version was touched."""
    operation = of(*resources)

    assert operation is not None
    assert operation.furthest_phase == furthest


@pytest.mark.parametrize(
    ("failed", "rejected"),
    [
        pytest.param(POSTSYNC_FAILED, True, id="by a PostSync hook"),
        pytest.param(DEGRADED, False, id="by nobody: degraded"),
        pytest.param(PRESYNC_FAILED, False, id="by nobody: never began"),
    ],
)
def test_what_was_rejected(failed: Any, rejected: bool) -> None:  # noqa: FBT001
    """Only what a PostSync hook saw and failed."""
    operation = of(IN_STANDBY, failed)

    assert operation is not None
    assert operation.was_rejected is rejected


def test_who_began_it() -> None:
    """A person by name, Argo CD itself as such, nobody where it is not told."""
    said = [
        of(**synced_by("alice")),
        of(),
        of(operation={}),
        of(operation={"initiatedBy": {"automated": False}}),
    ]

    assert [operation and operation.initiated_by for operation in said] == [
        "alice",
        "automated sync",
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("resource", "told"),
    [
        pytest.param({"hookPhase": "Failed"}, "Sync resource/? failed", id="nothing else is told"),
        pytest.param(
            {"status": "SyncFailed", "kind": "Job", "message": " a\n\tb "},
            "Sync Job/? failed: a b",
            id="no name",
        ),
    ],
)
def test_what_is_told_of_a_resource_that_tells_little(resource: Any, told: str) -> None:
    """It failed all the same."""
    operation = of(resource)

    assert operation is not None
    assert [str(failed) for failed in operation.failed] == [told]


@pytest.mark.parametrize(
    "document",
    [None, [], "oms", 3, {}, {"status": None}, {"status": []}, {"status": {"operationState": [1]}}],
    ids=repr,
)
def test_an_application_without_an_operation_is_told(document: Any) -> None:
    """There is nothing that could have failed."""
    assert understood(document) == Reading(problem="the Application tells of no operation")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def odd(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return objects in which each key may be missing, or hold anything."""
    return st.fixed_dictionaries({}, optional={name: values | JSON for name, values in keys.items()})


RESOURCES = odd(
    kind=st.just("Job"),
    name=st.text(),
    message=st.text(),
    status=st.sampled_from(["Synced", "SyncFailed"]),
    hookPhase=st.sampled_from(["Failed", "Running"]),
    hookType=st.sampled_from(["PreSync", "SyncFail"]),
    syncPhase=st.sampled_from(["PreSync", "Sync", "PostSync"]),
)
STATES = odd(
    syncResult=odd(
        resources=st.lists(RESOURCES, max_size=3), revision=st.text(), revisions=st.lists(JSON, max_size=2)
    ),
    operation=odd(initiatedBy=odd(username=st.text(), automated=st.booleans())),
    retryCount=st.integers(),
)


@examples(max_examples=150, deadline=None)
@given(odd(status=odd(operationState=STATES)))
@example({"status": {"operationState": {"retryCount": True}}})
@example({"status": {"operationState": {"syncResult": {"resources": [{"hookPhase": ["Failed"]}]}}}})
def test_no_document_raises(document: Any) -> None:
    """Whatever somebody wrote into an Application, the page goes out, and says what it says in few words."""
    operation = understood(document).operation
    if operation is not None:
        told = [operation.revision, operation.furthest_phase, operation.initiated_by]
        told += [
            text for failed in operation.failed for text in (failed.phase, failed.resource, failed.message)
        ]
        assert all(text is None or isinstance(text, str) for text in told)
        assert type(operation.retries) is int


@examples(max_examples=100, deadline=None)
@given(st.binary(max_size=64))
@example(b'{"status": NaN}')
@example(b"[" * 100_000)
def test_no_bytes_raise(body: bytes) -> None:
    """What is no JSON is told as such."""
    reading = argocd._read(Answer(200, body))

    assert reading.operation is None
    assert reading.problem


async def test_a_huge_application_is_read(ask: Ask, kubernetes: Kubernetes) -> None:
    """Thousands of resources are not too many; of what failed nothing is lost."""
    many = [
        result(f"config-{number}", phase="Sync", kind="ConfigMap", message=500 * "x")
        for number in range(5000)
    ]
    api = kubernetes(reply_json(application(*many, APPLY_FAILED)))

    reading = await ask(api)

    assert reading.operation is not None
    assert [failed.resource for failed in reading.operation.failed] == ["Deployment/oms"]


async def test_an_endless_application_is_not_read(ask: Ask, kubernetes: Kubernetes) -> None:
    """Memory is bounded, however much is sent."""
    block = b" " * 1024 * 1024
    api = kubernetes(reply(200, b"{" + 17 * block), silence)

    reading = await ask(api, seconds=3)

    assert reading.problem == "the Application cannot be read: answered 200 longer than 16777216 bytes"
