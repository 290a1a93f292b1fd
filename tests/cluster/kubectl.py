"""The cluster, through kubectl: what is asked of it, and how everything was when something was not as it should be."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

Manifest = dict[str, Any]
T = TypeVar("T")

LOOK_SECONDS = 2.0
REQUEST_SECONDS = 60.0


class ClusterError(AssertionError):
    """The cluster did not do what it was asked."""


def kubectl(*arguments: str, given: str | None = None, seconds: float = REQUEST_SECONDS) -> str:
    """Run kubectl and return what it prints. Raises ClusterError with what it says when it fails."""
    try:
        done = subprocess.run(
            [program(), *arguments], input=given, capture_output=True, text=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise ClusterError(f"kubectl {' '.join(arguments)}: no answer in {seconds:g} s") from None
    if done.returncode:
        raise ClusterError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def program() -> str:
    """Return the kubectl that is beside Python, or that of the PATH."""
    beside = Path(sys.executable).with_name("kubectl")
    return str(beside) if beside.exists() else "kubectl"


def get(kind: str, name: str, namespace: str | None = None) -> Manifest | None:
    """Read one object; None if it is not there."""
    found = kubectl("get", kind, name, *_in(namespace), "--ignore-not-found", "-o", "json")
    return json.loads(found) if found.strip() else None


def get_all(kind: str, namespace: str, selector: str = "") -> list[Manifest]:
    """Read all objects of a kind that a selector chooses."""
    chosen = ["-l", selector] if selector else []
    items: list[Manifest] = json.loads(kubectl("get", kind, *_in(namespace), *chosen, "-o", "json"))["items"]
    return items


def apply(manifests: Iterable[Manifest]) -> None:
    """Create or change objects."""
    items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=json.dumps(items))


def patch(kind: str, name: str, namespace: str, change: Manifest) -> None:
    """Merge a change into an object."""
    kubectl("patch", kind, name, *_in(namespace), "--type", "merge", "-p", json.dumps(change))


def delete(kind: str, *names: str, namespace: str | None = None) -> None:
    """Delete objects, and do not wait until they are gone; those that are not there are deleted already."""
    kubectl("delete", kind, *names, *_in(namespace), "--ignore-not-found", "--wait=false")


def until(what: str, within: float, look: Callable[[], T | None]) -> T:
    """Look until there is something, and return it.

    Raises ClusterError when `within` seconds have passed, with how everything is then. A look that fails is repeated:
    an API server may be away for a moment.
    """
    ends = time.monotonic() + within
    problem = ""
    while True:
        try:
            found = look()
            problem = ""
        except ClusterError as error:
            found, problem = None, f"; the last look failed: {error}"
        if found is not None:
            return found
        if time.monotonic() > ends:
            raise ClusterError(f"not within {within:g} s: {what}{problem}\n\n{state()}")
        time.sleep(LOOK_SECONDS)


def state() -> str:
    """Say how everything is that a person would look at."""
    return "\n\n".join(
        [
            f"operationState of oms:\n{_operation()}",
            *(
                f"{kind} in {namespace}:\n{_try('get', kind, '-n', namespace, '-o', 'wide')}"
                for namespace in ("oms-hooks", "trading")
                for kind in ("jobs", "pods")
            ),
            f"events in oms-hooks:\n{_try('get', 'events', '-n', 'oms-hooks', '--sort-by=.lastTimestamp')[-3000:]}",
        ]
    )


def _operation() -> str:
    try:
        application = get("application", "oms", "argocd") or {}
    except ClusterError as error:
        return str(error)
    status = application.get("status", {})
    told = {key: status.get(key) for key in ("operationState", "conditions", "sync", "health")}
    return json.dumps(told, indent=1)[-8000:]


def _try(*arguments: str) -> str:
    try:
        return kubectl(*arguments)
    except ClusterError as error:
        return str(error)


def _in(namespace: str | None) -> list[str]:
    return ["-n", namespace] if namespace else []
