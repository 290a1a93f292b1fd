"""Every object is what the API server takes: no field that is unknown, of another type, or missing."""

from __future__ import annotations

import json
import subprocess
from itertools import count
from typing import TYPE_CHECKING

import kubernetes_validate  # type: ignore[import-untyped]  # has no types
import pytest
import yaml

from tests.k8s import tools
from tests.k8s.tree import PROJECT, Tree, changed_copy, entries, the

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from rehearsal.manifests import Manifest

# Since 1.31 podFailurePolicy is stable, and a Job has failed only when its pods have ended.
OLDEST, NEWEST = "1.31", "1.37"
# Made from the Go types of the controllers, Argo CD 3 among them; TypeScript refuses a property that a type lacks.
NODE_MODULES = PROJECT / "tests" / "k8s" / "node_modules"
PACKAGES = {
    "argoproj.io/v1alpha1/Application": "argo-cd",
    "argoproj.io/v1alpha1/AppProject": "argo-cd",
    "argoproj.io/v1alpha1/AnalysisTemplate": "argo-rollouts",
    "argoproj.io/v1alpha1/Rollout": "argo-rollouts",
    "external-secrets.io/v1/ExternalSecret": "external-secrets",
    "external-secrets.io/v1/SecretStore": "external-secrets",
    "monitoring.coreos.com/v1/PodMonitor": "prometheus-operator",
    "monitoring.coreos.com/v1/PrometheusRule": "prometheus-operator",
}
COMPILER_OPTIONS = {
    "module": "nodenext",
    "target": "es2022",
    "strict": True,
    "noEmit": True,
    "skipLibCheck": True,
    "types": [],
}


def _all(tree: Tree) -> list[Manifest]:
    return [
        manifest
        for directory in tree.kustomizations()
        if tree.kind_of(directory) == "Kustomization"
        for manifest in tree.rendered(str(directory))
    ]


def _type_of(manifest: Manifest) -> str:
    return f"{manifest['apiVersion']}/{manifest['kind']}"


def _is_custom(manifest: Manifest) -> bool:
    group, _, _ = manifest["apiVersion"].partition("/")
    return "." in group and not group.endswith(".k8s.io")


def test_the_oldest_kubernetes_takes_every_object(shipped: Tree) -> None:
    """No object of Kubernetes' own kinds has a field that it does not know, or lacks one that it needs."""
    for manifest in _all(shipped):
        if not _is_custom(manifest):
            kubernetes_validate.validate(manifest, OLDEST, strict=True)


def test_the_newest_kubernetes_takes_every_kind(shipped: Tree) -> None:
    """Nothing that is used here has gone since: one object of each kind."""
    of_each_kind = {_type_of(manifest): manifest for manifest in _all(shipped) if not _is_custom(manifest)}
    for manifest in of_each_kind.values():
        kubernetes_validate.validate(manifest, NEWEST, strict=True)


def test_an_unknown_field_of_kubernetes_is_an_error(changed: Callable[[str, str, str], Tree]) -> None:
    """A field that Kubernetes would drop in silence is found here."""
    tree = changed("k8s/hooks/every-job.yaml", "enableServiceLinks", "enableServiceLink")
    with pytest.raises(kubernetes_validate.ValidationError, match="enableServiceLink"):
        kubernetes_validate.validate(
            the(tree.rendered("k8s/oms"), "Job", "oms-presync-standby"), NEWEST, strict=True
        )


BROKEN = {
    "an Application": ("k8s/gitops/apps/oms.yaml", "selfHeal", "selfHeel", "k8s/gitops"),
    "an AppProject": ("k8s/gitops/projects/platform.yaml", "manualSync:", "manual:", "k8s/gitops"),
    "an ExternalSecret": ("k8s/hooks-base/secrets.yaml", "remoteRef", "remote", "k8s/hooks-base"),
    "a PrometheusRule": ("k8s/watchdog/alerts.yaml", "for: 3m", "during: 3m", "k8s/watchdog"),
    "a number for words": ("k8s/watchdog/pod-monitor.yaml", "interval: 15s", "interval: 15", "k8s/watchdog"),
    "an AnalysisTemplate": (
        "k8s/rollouts/analysis-template.yaml",
        "failureLimit",
        "failLimit",
        "k8s/rollouts",
    ),
    "a step of a Rollout": ("k8s/rollouts/rollout.yaml", "setWeight:", "weight:", "k8s/rollouts"),
    # Often recommended, and dropped in silence: the Application is then out of sync for ever.
    "buildOptions": (
        "k8s/gitops/apps/oms.yaml",
        "    path: k8s/oms\n",
        "    path: k8s/oms\n    kustomize:\n      buildOptions: --enable-helm\n",
        "k8s/gitops",
    ),
}


@pytest.fixture(scope="module")
def faults(shipped: Tree, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return what TypeScript says of the custom resources as shipped, and of each broken copy."""
    manifests = {"as shipped": _all(shipped)}
    for name, (path, old, new, directory) in BROKEN.items():
        copy = tmp_path_factory.mktemp("copy")
        manifests[name] = changed_copy(copy, path, old, new).rendered(directory)
    return _checked(manifests, tmp_path_factory.mktemp("types"))


def test_every_custom_resource_is_of_its_type(faults: dict[str, list[str]]) -> None:
    """No custom resource has a field that its controller does not know, or one of another type."""
    assert faults["as shipped"] == []


@pytest.mark.parametrize("name", BROKEN)
def test_an_unknown_field_of_a_custom_resource_is_an_error(faults: dict[str, list[str]], name: str) -> None:
    """A field that the API server would drop in silence is found here."""
    assert faults[name]


def _checked(manifests: dict[str, list[Manifest]], directory: Path) -> dict[str, list[str]]:
    """Let TypeScript assign each custom resource to its type; return what it says, by the name given."""
    if not (NODE_MODULES / "typescript").exists():
        tools.missing("TypeScript", install="npm ci --prefix tests/k8s (npm: apt-get install nodejs npm)")
    node = tools.program("node", install="apt-get install nodejs")
    files = {name: f"{number}.ts" for number, name in enumerate(manifests)}
    for name, file in files.items():
        (directory / file).write_text("\n".join(_typed(manifests[name])))
    (directory / "node_modules").symlink_to(NODE_MODULES)
    (directory / "package.json").write_text('{"type": "module"}')
    (directory / "tsconfig.json").write_text(
        json.dumps({"compilerOptions": COMPILER_OPTIONS, "files": list(files.values())})
    )
    checked = subprocess.run(
        [node, NODE_MODULES / "typescript" / "bin" / "tsc", "--pretty", "false"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    said = checked.stdout.splitlines() + checked.stderr.splitlines()
    assert all(line.startswith((*files.values(), " ")) for line in said), said
    return {name: [line for line in said if line.startswith(f"{file}(")] for name, file in files.items()}


def _typed(manifests: Iterable[Manifest]) -> Iterable[str]:
    number = count()
    for manifest in manifests:
        if _is_custom(manifest):
            kind, at = manifest["kind"], next(number)
            module = f"@kubernetes-models/{PACKAGES[_type_of(manifest)]}/{_type_of(manifest)}"
            yield f'import type {{ I{kind} as T{at} }} from "{module}";'
            yield f"export const m{at}: T{at} = {json.dumps(manifest, indent=1)};"


def test_every_file_of_the_tree_is_in_a_kustomization(shipped: Tree) -> None:
    """No manifest lies about that nobody applies: it would be believed to be there."""
    used = {
        (shipped.root / directory / entry).resolve()
        for directory in shipped.kustomizations()
        for entry in entries(shipped.read(f"{directory}/kustomization.yaml"))
    }
    values = shipped.root / "k8s/gitops/argocd/values.yaml"
    assert used >= {
        path.resolve()
        for path in shipped.root.glob("k8s/**/*.yaml")
        if path.name != "kustomization.yaml" and path != values
    }


def test_every_kustomization_is_built(shipped: Tree) -> None:
    """Each directory renders by itself; a component that only changes others renders to nothing."""
    empty = {str(directory) for directory in shipped.kustomizations() if not shipped.rendered(str(directory))}
    assert empty == {"k8s/image", "k8s/hooks/first-sync", "k8s/hooks/of-another"}


def test_the_values_of_argo_cd_are_yaml_inside_yaml(shipped: Tree) -> None:
    """Each entry that Argo CD parses again can be parsed again."""
    notifications = shipped.read("k8s/gitops/argocd/values.yaml")["notifications"]
    for section in ("notifiers", "triggers", "templates"):
        for name, text in notifications[section].items():
            assert yaml.safe_load(text), name
