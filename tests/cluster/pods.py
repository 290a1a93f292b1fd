"""Pods that the tests bring: the git repository, PagerDuty, and programs that look about inside the cluster."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from tests.cluster import kubectl
from tests.cluster.kubectl import ClusterError, Manifest

NAMESPACE = "oms-cluster-test"
HOOKS = "oms-hooks"
PAGERDUTY_URL = f"http://pagerduty.{HOOKS}.svc.cluster.local:8080"
PORT = 8080
STARTED_SECONDS = 300.0
LOOKED_SECONDS = 180.0
# Who may speak to whom beside what the example allows.
OURS = {"oms-cluster-test": "true"}

_numbers = count(1)


def restricted(container: Manifest, *, user: int = 65532, **spec: Any) -> Manifest:
    """Return a pod's spec that the restricted profile admits."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "fsGroup": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                **container,
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
        **spec,
    }


def server(name: str, namespace: str, spec: Manifest, port: int) -> list[Manifest]:
    """Return a Deployment of one pod, and the Service in front of it."""
    labels = {"app.kubernetes.io/name": name, **OURS}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": {"app.kubernetes.io/name": name}, "ports": [{"name": "main", "port": port}]},
        },
    ]


def pagerduty(image: str) -> list[Manifest]:
    """Return the mock of PagerDuty, and who may speak to it."""
    container = {
        "name": "pagerduty",
        "image": image,
        "command": ["python3", "-m", "rehearsal.mock_pagerduty", f"--listen=0.0.0.0:{PORT}"],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/mock/incidents", "port": PORT}},
    }
    return [*server("pagerduty", HOOKS, restricted(container), PORT), *_policies()]


def _policies() -> list[Manifest]:
    """In oms-hooks everything is forbidden that is not allowed; the example allows only what it needs itself."""
    ours = {"podSelector": {"matchLabels": OURS}}
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "cluster-test-everybody", "namespace": HOOKS},
            "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [ours]}]},
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "cluster-test-ours", "namespace": HOOKS},
            "spec": {**ours, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]},
        },
    ]


def wait_for(name: str, namespace: str) -> None:
    """Wait until the pod of a server is ready."""

    def ready() -> bool | None:
        deployment = kubectl.get("deployment", name, namespace) or {}
        return True if deployment.get("status", {}).get("readyReplicas") else None

    kubectl.until(f"{namespace}/{name} is ready", STARTED_SECONDS, ready)


def run(image: str, program: str) -> Any:
    """Run Python inside the cluster; return what it leaves in `result`, as JSON of at most 4 kB.

    It comes back by the termination message: nothing is assumed of logs, proxies and port-forwards. `targets` are the
    addresses of the OMS's replicas, and `ask(url, document=None)` asks for JSON. Raises ClusterError.
    """
    name = f"cluster-test-{next(_numbers)}"
    container = {
        "name": "python",
        "image": image,
        "command": ["python3", "-c", f"{_PRELUDE}\n{program}\n{_CODA}"],
    }
    labels = {"app.kubernetes.io/part-of": HOOKS, **OURS}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": HOOKS},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": 120,
            "template": {
                "metadata": {"labels": labels},
                "spec": restricted(container, restartPolicy="Never"),
            },
        },
    }
    kubectl.apply([job])
    try:
        return json.loads(kubectl.until(f"{name} has ended", LOOKED_SECONDS, lambda: _message(name)))
    finally:
        kubectl.delete("job", name, namespace=HOOKS)


def _message(job: str) -> str | None:
    for pod in kubectl.get_all("pods", HOOKS, f"batch.kubernetes.io/job-name={job}"):
        for container in pod.get("status", {}).get("containerStatuses", []):
            ended = container["state"].get("terminated")
            if ended and ended["exitCode"] == 0:
                message: str = ended["message"]
                return message
            if ended:
                raise ClusterError(f"{job} failed: {ended.get('message') or ended}")
    return None


_PRELUDE = """
import json, socket, sys, urllib.request

def ask(url, document=None):
    data = None if document is None else json.dumps(document).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=10) as answer:
        return json.load(answer)

def addresses():
    found = socket.getaddrinfo("oms-headless.trading.svc.cluster.local", 8080, type=socket.SOCK_STREAM)
    return sorted({entry[4][0] for entry in found})

try:
    targets = [f"http://[{host}]:8080" if ":" in host else f"http://{host}:8080" for host in addresses()]
except OSError:
    targets = []
"""
_CODA = """
open("/dev/termination-log", "w").write(json.dumps(result))
"""
