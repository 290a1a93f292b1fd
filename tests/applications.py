"""Applications as Argo CD writes them while a SyncFail hook runs: one for each way a sync can fail.

Shapes and words are those of argo-cd 3.4: pkg/apis/application/v1alpha1/types.go (OperationState,
ResourceResult), gitops-engine/pkg/sync/sync_context.go, gitops-engine/pkg/health.
"""

from __future__ import annotations

from typing import Any

REVISION = "9f2c1e7ab34d5f60718293a4b5c6d7e8f9012345"
CHART_REVISION = "4.12.0"


def result(
    name: str, *, phase: str, outcome: str | None = None, kind: str = "Job", message: str = "", **more: str
) -> dict[str, Any]:
    """Return what Argo CD tells of one resource, a hook where it is a Job; `outcome` is its hookPhase."""
    hook = {"hookType": phase} if kind == "Job" else {}
    group = {"Job": "batch", "Deployment": "apps"}.get(kind, "")
    told = {
        "group": group,
        "version": "v1",
        "kind": kind,
        "namespace": "trading",
        "name": name,
        "status": "Synced",
        "message": message,
        "syncPhase": phase,
        **hook,
        **more,
    }
    return told | ({"hookPhase": outcome} if outcome else {})


def application(*resources: Any, **state: Any) -> dict[str, Any]:
    """Return an Application whose operation came this far; `state` replaces parts of its operationState."""
    operation = {
        "message": "waiting for completion of hook batch/Job/oms-syncfail-alert",
        "phase": "Running",
        "startedAt": "2026-03-02T07:30:00Z",
        "operation": {"initiatedBy": {"automated": True}, "retry": {"limit": 5}, "sync": {}},
        "syncResult": {"resources": list(resources), "revision": REVISION, "source": {"path": "oms"}},
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "oms", "namespace": "argocd"},
        "spec": {"project": "trading"},
        "status": {"operationState": operation | state, "sync": {"status": "OutOfSync"}},
    }


def synced_by(user: str) -> dict[str, Any]:
    """Return the operation of somebody who pressed the button."""
    return {"operation": {"initiatedBy": {"username": user}, "sync": {"revision": REVISION}}}


IN_STANDBY = result("oms-presync-standby", phase="PreSync", outcome="Succeeded", message="Reached expected")
APPLIED = result(
    "oms", phase="Sync", kind="Deployment", outcome="Succeeded", message="deployment.apps/oms configured"
)
PAGING = result(
    "oms-syncfail-alert", phase="SyncFail", outcome="Running", message="job.batch/oms-syncfail-alert created"
)

PRESYNC_FAILED = result(
    "oms-presync-standby",
    phase="PreSync",
    outcome="Failed",
    message="Job was active longer than specified deadline",
)
APPLY_FAILED = result(
    "oms",
    phase="Sync",
    kind="Deployment",
    outcome="Failed",
    status="SyncFailed",
    message='Deployment.apps "oms" is invalid: spec.selector: Invalid value: '
    'v1.LabelSelector{MatchLabels:map[string]string{"app":"oms"}}: field is immutable',
)
DEGRADED = result(
    "oms",
    phase="Sync",
    kind="Deployment",
    outcome="Failed",
    message='Deployment "oms" exceeded its progress deadline',
)
POSTSYNC_FAILED = result(
    "oms-postsync-verify",
    phase="PostSync",
    outcome="Failed",
    message="Job has reached the specified backoff limit",
)
QUOTA_EXCEEDED = result(
    "oms-gateway",
    phase="Sync",
    kind="ConfigMap",
    outcome="Failed",
    status="SyncFailed",
    message='configmaps "oms-gateway" is forbidden: exceeded quota: trading, requested: count/configmaps=1,\n'
    "used: count/configmaps=40, limited: count/configmaps=40",
)
SERVICE_REFUSED = result(
    "oms-headless",
    phase="Sync",
    kind="Service",
    outcome="Failed",
    status="SyncFailed",
    message='admission webhook "policy.example.com" denied the request: spec.type: LoadBalancer is not allowed',
)

FAILED_SYNCS: dict[str, Any] = {
    "presync-hook-failed": application(PRESYNC_FAILED, PAGING),
    "apply-failed": application(IN_STANDBY, APPLY_FAILED, PAGING, **synced_by("alice@example.com")),
    "resource-degraded": application(IN_STANDBY, DEGRADED, PAGING),
    "postsync-hook-failed": application(IN_STANDBY, APPLIED, POSTSYNC_FAILED, PAGING),
    "several-failed": application(IN_STANDBY, APPLY_FAILED, QUOTA_EXCEEDED, SERVICE_REFUSED, PAGING),
    "failed-after-retries": application(IN_STANDBY, DEGRADED, PAGING, retryCount=3),
    "several-sources": application(
        PRESYNC_FAILED,
        PAGING,
        syncResult={
            "resources": [PRESYNC_FAILED, PAGING],
            "revision": "",
            "revisions": [REVISION, CHART_REVISION],
        },
    ),
    "nothing-failed-yet": application(IN_STANDBY, APPLIED, PAGING),
}
"""By the name of the page that they lead to."""
