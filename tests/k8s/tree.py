"""The manifests as Argo CD would see them: each directory rendered by kustomize, each Application with its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rehearsal.manifests import Manifest, render

PROJECT = Path(__file__).resolve().parents[2]
GIT = "https://git.example.com/trading/platform.git"
HOT_PATH = frozenset({"oms", "risk-engine", "nats-cluster"})
HOOK = "argocd.argoproj.io/hook"
OUR_IMAGE = "argocd-standby-hooks"


@dataclass(frozen=True)
class Tree:
    """A repository that holds `k8s/`: the project's own, or a copy in which something was changed."""

    root: Path = PROJECT
    rendered_so_far: dict[str, list[Manifest]] = field(default_factory=dict, compare=False)

    def rendered(self, directory: str) -> list[Manifest]:
        """Return what kustomize makes of a directory, `k8s/oms` say. Raises ManifestError."""
        if directory not in self.rendered_so_far:
            self.rendered_so_far[directory] = render(self.root / directory)
        return self.rendered_so_far[directory]

    def read(self, path: str) -> Any:
        """Return what one YAML file holds, as it is written."""
        return yaml.safe_load((self.root / path).read_text())

    def kustomizations(self) -> list[Path]:
        """Return every directory that holds a kustomization, relative to the repository."""
        return sorted(
            path.parent.relative_to(self.root) for path in self.root.glob("k8s/**/kustomization.yaml")
        )

    def kind_of(self, directory: Path) -> str:
        """Return `Kustomization` or `Component`."""
        kind: str = self.read(f"{directory}/kustomization.yaml")["kind"]
        return kind

    def files_of(self, directory: str) -> set[str]:
        """Return every file that kustomize reads for a directory, relative to the repository."""
        kustomization = f"{directory}/kustomization.yaml"
        found = {kustomization}
        for entry in entries(self.read(kustomization)):
            path = os.path.normpath(Path(directory, entry))
            found |= self.files_of(path) if (self.root / path).is_dir() else {path}
        return found

    # Argo CD's own objects.

    def projects(self) -> dict[str, Manifest]:
        """Return every AppProject by its name, the root's included."""
        return _by_name(self.rendered("k8s/gitops") + self.rendered("k8s/gitops/root"), "AppProject")

    def children(self) -> dict[str, Manifest]:
        """Return the Applications that the root applies, by name."""
        return _by_name(self.rendered("k8s/gitops"), "Application")

    def root_application(self) -> Manifest:
        """Return the Application that applies all others."""
        return _by_name(self.rendered("k8s/gitops/root"), "Application")["root"]

    def applications(self) -> dict[str, Manifest]:
        """Return every Application by name."""
        return {**self.children(), "root": self.root_application()}

    def manifests_of(self, application: Manifest) -> list[Manifest]:
        """Return what an Application renders from this repository; charts are not rendered."""
        return [
            manifest
            for source in sources(application)
            if "path" in source
            for manifest in self.rendered(source["path"])
        ]

    # The hooks.

    def hook_directories(self) -> list[str]:
        """Return the directories of the Applications that include the hooks."""
        return [
            source["path"]
            for application in self.children().values()
            for source in sources(application)
            if "path" in source and _has_hooks(self.rendered(source["path"]))
        ]

    def pods(self, directory: str) -> Iterator[tuple[str, Manifest]]:
        """Yield every pod template of a directory with the name of what it belongs to."""
        for manifest in self.rendered(directory):
            for where, template in _templates(manifest):
                yield f"{directory}: {manifest['kind']} {manifest['metadata']['name']}{where}", template

    def all_pods(self) -> Iterator[tuple[str, Manifest]]:
        """Yield every pod template of every directory."""
        for directory in self.kustomizations():
            if self.kind_of(directory) == "Kustomization":
                yield from self.pods(str(directory))


SHIPPED = Tree()


def changed_copy(directory: Path, path: str, old: str, new: str) -> Tree:
    """Copy the manifests into an empty directory and replace a text in one file, which must be there."""
    shutil.copytree(PROJECT / "k8s", directory / "k8s")
    file = directory / path
    text = file.read_text()
    assert old in text, f"{path} has changed: {old!r} is not there"
    file.write_text(text.replace(old, new))
    # What does not read the file is rendered as it was.
    as_shipped = {
        of: manifests for of, manifests in SHIPPED.rendered_so_far.items() if path not in SHIPPED.files_of(of)
    }
    return Tree(directory, as_shipped)


def entries(kustomization: Manifest) -> Iterator[str]:
    """Yield what a kustomization names: files and directories."""
    yield from kustomization.get("resources", [])
    yield from kustomization.get("components", [])
    yield from (patch["path"] for patch in kustomization.get("patches", []) if "path" in patch)


def sources(application: Manifest) -> list[Manifest]:
    """Return an Application's sources: one, or several."""
    spec = application["spec"]
    found: list[Manifest] = spec.get("sources") or [spec["source"]]
    return found


def annotation(manifest: Manifest, name: str, default: str = "") -> str:
    """Return an annotation of an object."""
    value: str = manifest["metadata"].get("annotations", {}).get(name, default)
    return value


def wave(manifest: Manifest) -> int:
    """Return the sync wave of an object."""
    return int(annotation(manifest, "argocd.argoproj.io/sync-wave", "0"))


def label(manifest: Manifest, name: str) -> str:
    """Return a label of an object."""
    value: str = manifest["metadata"].get("labels", {}).get(f"app.kubernetes.io/{name}", "")
    return value


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """Return the objects of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def the(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """Return one object. Raises KeyError if it is not there."""
    return _by_name(manifests, kind)[name]


def hooks(manifests: list[Manifest]) -> list[Manifest]:
    """Return the objects that Argo CD runs as hooks."""
    return [manifest for manifest in manifests if annotation(manifest, HOOK)]


def standby_hooks(manifests: list[Manifest]) -> list[Manifest]:
    """Return the Jobs of the three hooks."""
    return [job for job in of_kind(manifests, "Job") if label(job, "part-of") == "oms-hooks"]


def on_call_jobs(manifests: list[Manifest]) -> list[Manifest]:
    """Return the CronJobs that on-call starts Jobs from."""
    return [job for job in of_kind(manifests, "CronJob") if label(job, "part-of") == "oms-hooks"]


def job_spec(manifest: Manifest) -> Manifest:
    """Return the Job's spec of a Job or CronJob."""
    spec: Manifest = (
        manifest["spec"]["jobTemplate"]["spec"] if manifest["kind"] == "CronJob" else manifest["spec"]
    )
    return spec


def pod_spec(manifest: Manifest) -> Manifest:
    """Return the pod's spec of a Job or CronJob."""
    spec: Manifest = job_spec(manifest)["template"]["spec"]
    return spec


def containers(template: Manifest) -> list[Manifest]:
    """Return every container of a pod template, those that run before it included."""
    spec = template["spec"]
    found: list[Manifest] = [*spec.get("initContainers", []), *spec["containers"]]
    return found


def variables(container: Manifest) -> dict[str, str]:
    """Return the variables with a literal value."""
    return {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}


def runs_our_image(container: Manifest) -> bool:
    """Tell whether the container runs one of the project's commands."""
    return OUR_IMAGE in container["image"]


def _by_name(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {manifest["metadata"]["name"]: manifest for manifest in of_kind(manifests, kind)}


def _has_hooks(manifests: list[Manifest]) -> bool:
    return bool(standby_hooks(manifests))


def _templates(manifest: Manifest) -> Iterator[tuple[str, Manifest]]:
    spec = manifest.get("spec", {})
    match manifest["kind"]:
        case "CronJob":
            yield "", spec["jobTemplate"]["spec"]["template"]
        case "AnalysisTemplate":
            for metric in spec["metrics"]:
                yield f", metric {metric['name']}", metric["provider"]["job"]["spec"]["template"]
        case _ if "template" in spec and "spec" in spec["template"]:
            yield "", spec["template"]
