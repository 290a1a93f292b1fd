"""The example, installed for the tests of a session and taken away after it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from rehearsal import manifests
from tests.cluster import kubectl, pods, repository
from tests.cluster.argo import APPLICATION, ARGOCD, Operation, Sync
from tests.cluster.repository import ClusterRemote, DirectoryRemote, Images, Release, Remote, Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.kubectl import Manifest

TOKEN = "made-up-admin-token"
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
KEY = f"argocd-sync/argocd.example.com/{ARGOCD}/{APPLICATION}"
PROJECT = "trading-prod"
GONE_SECONDS = 300.0
MODES_SECONDS = 240.0
NAMESPACES = ("trading", pods.HOOKS, pods.NAMESPACE)


class Example:
    """The OMS of the example as it is deployed, and what its hooks told."""

    def __init__(self, repository: Repository, images: Images) -> None:
        self.repository = repository
        self._images = images

    def begin(self, release: Release) -> Sync:
        """Commit a release and begin to sync it."""
        return Sync(self.repository.commit(release))

    def deploy(self, release: Release) -> Operation:
        """Commit a release, sync it and wait until the sync has ended."""
        return self.begin(release).ended()

    def replicas(self) -> list[tuple[str, str]]:
        """Return mode and version of every replica that its name leads to."""
        told = pods.run(
            self._images.mock,
            "result = [(m['mode'], m['version']) for m in (ask(t + '/health/mode') for t in targets)]",
        )
        return sorted((mode, version) for mode, version in told)

    def becomes(self, *replicas: tuple[str, str]) -> None:
        """Wait until the replicas are so; a pod that terminates is in the name a little longer."""

        def look() -> bool | None:
            return self.replicas() == sorted(replicas) or None

        kubectl.until(f"the replicas are {replicas}", MODES_SECONDS, look)

    def set_fault(self, document: str) -> None:
        """Switch a fault on in the first replica; `{}` switches all off, in all of them."""
        chosen = "targets" if document == "{}" else "targets[:1]"
        pods.run(self._images.mock, f"result = len([ask(t + '/mock/faults', {document}) for t in {chosen}])")

    def incidents(self) -> dict[str, str]:
        """Return what PagerDuty shows: dedup key to open or resolved."""
        told: dict[str, str] = pods.run(
            self._images.mock,
            f"found = ask('{pods.PAGERDUTY_URL}/mock/incidents')\n"
            "result = {key: incident['status'] for key, incident in found.items()}",
        )
        return told

    def has_incident(self, key: str, status: str, within: float) -> None:
        """Wait until PagerDuty shows an incident so."""

        def look() -> bool | None:
            return self.incidents().get(key) == status or None

        kubectl.until(f"the incident {key} is {status}", within, look)

    def job_uid(self, name: str) -> str | None:
        """Return which Job of a name there is."""
        job = kubectl.get("job", name, pods.HOOKS)
        return job["metadata"]["uid"] if job else None


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Example]:
    """Install everything but the OMS itself; take everything away at the end, also of a failure."""
    images = Images(hooks=_needed("HOOKS_IMAGE"), mock=_needed("MOCK_IMAGE"))
    _nothing_is_there()
    with ExitStack() as at_the_end:
        at_the_end.callback(_unless_kept, request, _take_away)
        clone = tmp_path_factory.mktemp("platform")
        remote = _remote()
        at_the_end.callback(_unless_kept, request, remote.remove)
        platform = Repository(clone, remote, images)
        platform.commit(Release("1", first=True))
        _install(clone, platform.url, images)
        yield Example(platform, images)


def _needed(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        pytest.exit(f"{variable} is not set; tests/cluster/README.md says what is needed", returncode=2)
    return value


def _nothing_is_there() -> None:
    """Refuse to touch what is somebody else's."""
    there = [f"namespace {name}" for name in NAMESPACES if kubectl.get("namespace", name)]
    there += [f"Application {APPLICATION}"] if kubectl.get("application", APPLICATION, ARGOCD) else []
    there += [f"AppProject {PROJECT}"] if kubectl.get("appproject", PROJECT, ARGOCD) else []
    if there:
        pytest.exit(f"not touched, since it is there already: {', '.join(there)}", returncode=2)


def _remote() -> Remote:
    directory, url = os.environ.get("CLUSTER_REPO_DIR"), os.environ.get("CLUSTER_REPO_URL")
    return DirectoryRemote(Path(directory), url) if directory and url else ClusterRemote()


def _install(clone: Path, url: str, images: Images) -> None:
    """Do by hand what the root Application and the operators would do."""
    kubectl.apply(manifests.render(clone / repository.BASE))
    kubectl.apply([*_secrets(), *pods.pagerduty(images.mock)])
    pods.wait_for("pagerduty", pods.HOOKS)
    kubectl.apply(manifests.render(clone / repository.WATCHDOG))
    kubectl.apply(_of_argo_cd(clone, url))


def _secrets() -> list[Manifest]:
    """Return the namespace of the OMS, which the first sync takes over, and every Secret."""
    held = {
        ("trading", "oms"): {"admin-token": TOKEN},
        (pods.HOOKS, "oms-hooks"): {"OMS_ADMIN_TOKEN": TOKEN},
        (pods.HOOKS, "pagerduty"): {"PAGERDUTY_ROUTING_KEY": ROUTING_KEY},
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "trading"}},
        *(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"namespace": namespace, "name": name},
                "stringData": data,
            }
            for (namespace, name), data in held.items()
        ),
    ]


def _of_argo_cd(clone: Path, url: str) -> list[Manifest]:
    """Return the shipped project and Application, with the repository of the tests."""
    project = yaml.safe_load((clone / "k8s/gitops/projects/trading-prod.yaml").read_text())
    project["spec"]["sourceRepos"] = [url]
    application = yaml.safe_load((clone / "k8s/gitops/apps/oms.yaml").read_text())
    application["spec"]["source"] |= {"repoURL": url, "path": repository.OMS}
    return [project, application]


def _unless_kept(request: pytest.FixtureRequest, take_away: Callable[[], None]) -> None:
    """Keep what a failed test left, if somebody wants to look at it."""
    if not (os.environ.get("CLUSTER_KEEP") and request.session.testsfailed):
        take_away()


def _take_away() -> None:
    """Delete everything that was made, and wait until it is gone."""
    kubectl.delete("application", APPLICATION, namespace=ARGOCD)
    kubectl.until(
        "the Application is gone", GONE_SECONDS, partial(_is_gone, "application", APPLICATION, ARGOCD)
    )
    kubectl.delete("appproject", PROJECT, namespace=ARGOCD)
    for kind in ("role", "rolebinding"):
        kubectl.delete(
            kind,
            *(f"read-application-{name}" for name in ("oms", "risk-engine", "nats-cluster")),
            namespace=ARGOCD,
        )
    _free_the_hooks()
    kubectl.delete("namespace", *NAMESPACES)
    for name in NAMESPACES:
        kubectl.until(
            f"the namespace {name} is gone", GONE_SECONDS, partial(_is_gone, "namespace", name, None)
        )


def _free_the_hooks() -> None:
    """Take Argo CD's finalizer off the hooks: nobody is left who would, and it holds their namespace."""
    for namespace in (pods.HOOKS, "trading"):
        for job in kubectl.get_all("jobs", namespace):
            if job["metadata"].get("finalizers"):
                kubectl.patch("job", job["metadata"]["name"], namespace, {"metadata": {"finalizers": None}})


def _is_gone(kind: str, name: str, namespace: str | None) -> bool | None:
    return None if kubectl.get(kind, name, namespace) else True
