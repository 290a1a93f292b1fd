"""The git repository that Argo CD reads: the shipped tree, and beside it what a cluster for tests needs changed."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import yaml

from tests.cluster import kubectl, pods

PROJECT = Path(__file__).resolve().parents[2]
URL_IN_THE_CLUSTER = f"git://git.{pods.NAMESPACE}.svc.cluster.local/platform.git"
OMS = "k8s/cluster-test/oms"
BASE = "k8s/cluster-test/hooks-base"
WATCHDOG = "k8s/cluster-test/watchdog"
NEVER = 86400
WATCH_STANDBY_SECONDS = 20
REMOTE_SECONDS = 120.0


@dataclass(frozen=True)
class Images:
    """What runs; each `name:tag` or `name@sha256:…`."""

    hooks: str
    mock: str

    def overrides(self) -> list[dict[str, str]]:
        """Return what kustomize puts in place of the example's images."""
        return [
            _override("registry.example.com/argocd-standby-hooks", self.hooks),
            _override("registry.example.com/mock-oms", self.mock),
        ]


def _override(name: str, image: str) -> dict[str, str]:
    untagged, _, digest = image.partition("@")
    if digest:
        return {"name": name, "newName": untagged, "digest": digest}
    repository, colon, tag = untagged.rpartition(":")
    if not colon or "/" in tag or tag == "latest":
        raise ValueError(f"{image}: a tag that is not `latest`, or a digest")
    return {"name": name, "newName": repository, "newTag": tag}


@dataclass(frozen=True)
class Release:
    """One commit: a version of the OMS and how it behaves."""

    version: str
    startup_seconds: int = 5
    first: bool = False
    """Whether there is no OMS yet: PreSync lets the sync pass."""

    def never_healthy(self) -> Release:
        """Return a release whose start-up never ends."""
        return replace(self, startup_seconds=NEVER)


def write(directory: Path, release: Release, images: Images) -> None:
    """Write the shipped tree and the overlays of a release into a directory."""
    shutil.copytree(PROJECT / "k8s", directory / "k8s", dirs_exist_ok=True)
    _write(directory / OMS, _oms(release, images))
    _write(directory / BASE, _base())
    _write(directory / WATCHDOG, _watchdog(images))


def _write(directory: Path, kustomization: dict[str, Any]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    kind = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(kind | kustomization, sort_keys=False))


def _oms(release: Release, images: Images) -> dict[str, Any]:
    arguments = [
        f"--listen=0.0.0.0:{pods.PORT}",
        "--token-file=/etc/oms/admin-token",
        f"--version-name={release.version}",
        "--drain-seconds=3",
        f"--startup-seconds={release.startup_seconds}",
    ]
    everywhere = {"PAGERDUTY_EVENTS_URL": f"{pods.PAGERDUTY_URL}/v2/enqueue", "VERIFY_TIMEOUT_SECONDS": "90"}
    return {
        "resources": ["../../oms"],
        "components": ["../../hooks/first-sync"] if release.first else [],
        "images": images.overrides(),
        "patches": [
            # No External Secrets Operator, no image from elsewhere.
            *_without("external-secrets.io/v1", "SecretStore", "vault", "trading"),
            *_without("external-secrets.io/v1", "ExternalSecret", "oms", "trading"),
            *_without("apps/v1", "StatefulSet", "oms-nats", "trading"),
            *_without("v1", "Service", "oms-nats", "trading"),
            _change(
                "apps/v1", "Deployment", "app.kubernetes.io/name=oms", {"name": "oms", "args": arguments}
            ),
            _change(
                "batch/v1", "Job", "app.kubernetes.io/part-of=oms-hooks", _environment("hook", everywhere)
            ),
            # The tag of the mock is not its version.
            _change(
                "batch/v1",
                "Job",
                "app.kubernetes.io/component=postsync-verify",
                _environment("hook", {"EXPECT_VERSION": release.version}),
            ),
        ],
    }


def _base() -> dict[str, Any]:
    return {
        "resources": ["../../hooks-base"],
        "patches": [
            *_without("external-secrets.io/v1", "SecretStore", "vault", "oms-hooks"),
            *_without("external-secrets.io/v1", "ExternalSecret", "oms-hooks", "oms-hooks"),
            *_without("external-secrets.io/v1", "ExternalSecret", "pagerduty", "oms-hooks"),
        ],
    }


def _watchdog(images: Images) -> dict[str, Any]:
    variables = {
        "PAGERDUTY_EVENTS_URL": f"{pods.PAGERDUTY_URL}/v2/enqueue",
        "WATCH_STANDBY_SECONDS": str(WATCH_STANDBY_SECONDS),
    }
    return {
        "resources": ["../../watchdog"],
        "images": images.overrides(),
        "patches": [
            *_without("monitoring.coreos.com/v1", "PodMonitor", "standby-watchdog", "oms-hooks"),
            *_without("monitoring.coreos.com/v1", "PrometheusRule", "standby-watchdog", "oms-hooks"),
            _change(
                "apps/v1",
                "Deployment",
                "app.kubernetes.io/component=standby-watchdog",
                _environment("watchdog", variables),
            ),
        ],
    }


def _without(version: str, kind: str, name: str, namespace: str) -> list[dict[str, Any]]:
    gone = {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "$patch": "delete",
    }
    return [{"patch": yaml.safe_dump(gone)}]


def _change(version: str, kind: str, selector: str, container: dict[str, Any]) -> dict[str, Any]:
    changed = {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": "changed"},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    return {"target": {"kind": kind, "labelSelector": selector}, "patch": yaml.safe_dump(changed)}


def _environment(container: str, variables: dict[str, str]) -> dict[str, Any]:
    return {"name": container, "env": [{"name": name, "value": value} for name, value in variables.items()]}


class Remote(Protocol):
    """Where Argo CD reads."""

    url: str

    def publish(self, clone: Path) -> None:
        """Make the branch main of a clone what Argo CD sees."""

    def remove(self) -> None:
        """Leave nothing behind."""


class DirectoryRemote:
    """A directory of this machine that Argo CD reaches: not there yet, empty, or a repository whose main is borrowed."""

    def __init__(self, directory: Path, url: str) -> None:
        self.url = url
        self._directory = directory
        self._was_there = directory.exists()
        self._is_ours = not self._was_there or not any(directory.iterdir())
        if self._is_ours:
            directory.mkdir(parents=True, exist_ok=True)
            git(directory, "init", "--quiet", "--bare", "--initial-branch=main")
        self._main_before = git(
            directory, "for-each-ref", "--format=%(objectname)", "refs/heads/main"
        ).strip()

    def publish(self, clone: Path) -> None:
        """Push into the directory; one with a working tree keeps it as it is."""
        ignoring = "git -c receive.denyCurrentBranch=ignore receive-pack"
        git(clone, "push", "--quiet", "--force", f"--receive-pack={ignoring}", str(self._directory), "main")

    def remove(self) -> None:
        """Leave the directory as it was found."""
        if not self._is_ours:
            before = [self._main_before] if self._main_before else []
            git(self._directory, "update-ref", *([] if before else ["-d"]), "refs/heads/main", *before)
            return
        shutil.rmtree(self._directory)
        if self._was_there:
            self._directory.mkdir()


class ClusterRemote:
    """A git daemon inside the cluster, in the image of Argo CD's own repo-server, which has git and is there already."""

    url = URL_IN_THE_CLUSTER

    def __init__(self) -> None:
        kubectl.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": pods.NAMESPACE}}])
        kubectl.apply(git_daemon(_image_of_the_repo_server()))
        pods.wait_for("git", pods.NAMESPACE)

    def publish(self, clone: Path) -> None:
        """Send a bundle into the pod."""
        bundle = subprocess.run(
            ["git", "bundle", "create", "--quiet", "-", "main"], cwd=clone, capture_output=True, check=True
        ).stdout
        command = [
            kubectl.program(),
            "-n",
            pods.NAMESPACE,
            "exec",
            "-i",
            "deploy/git",
            "--",
            "sh",
            "-ec",
            _UNBUNDLE,
        ]
        sent = subprocess.run(command, input=bundle, capture_output=True, check=False, timeout=REMOTE_SECONDS)
        if sent.returncode:
            raise kubectl.ClusterError(f"the commit did not arrive: {sent.stderr.decode()}")

    def remove(self) -> None:
        """Delete the namespace."""
        kubectl.delete("namespace", pods.NAMESPACE)


_UNBUNDLE = "cat >/tmp/bundle && git -C /srv/git/platform.git fetch --quiet --force /tmp/bundle main:main"
_SERVE = """
git init --quiet --bare --initial-branch=main /srv/git/platform.git
exec git daemon --reuseaddr --export-all --base-path=/srv/git /srv/git
"""


def git_daemon(image: str) -> list[dict[str, Any]]:
    """Return the pod that serves the repository."""
    container = {
        "name": "git",
        "image": image,
        "command": ["sh", "-ec", _SERVE],
        # Where git looks for its configuration.
        "env": [{"name": "HOME", "value": "/srv/git"}],
        "ports": [{"containerPort": 9418}],
        "readinessProbe": {"tcpSocket": {"port": 9418}},
        "volumeMounts": [{"name": "git", "mountPath": "/srv/git"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    volumes = [{"name": "git", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    return pods.server("git", pods.NAMESPACE, pods.restricted(container, user=999, volumes=volumes), 9418)


def _image_of_the_repo_server() -> str:
    for kind in ("deployments", "statefulsets"):
        for found in kubectl.get_all(kind, "argocd", "app.kubernetes.io/name=argocd-repo-server"):
            image: str = found["spec"]["template"]["spec"]["containers"][0]["image"]
            return image
    raise kubectl.ClusterError(
        "no argocd-repo-server in the namespace argocd: set CLUSTER_REPO_DIR and CLUSTER_REPO_URL"
    )


class Repository:
    """A clone in which releases are committed."""

    def __init__(self, clone: Path, remote: Remote, images: Images) -> None:
        self.url = remote.url
        self._clone = clone
        self._remote = remote
        self._images = images
        git(clone, "init", "--quiet", "--initial-branch=main")

    def commit(self, release: Release) -> str:
        """Commit a release, let Argo CD see it, and return its revision."""
        write(self._clone, release, self._images)
        git(self._clone, "add", "--all")
        git(
            self._clone,
            "commit",
            "--quiet",
            "--allow-empty",
            "--message",
            f"The OMS, version {release.version}",
        )
        self._remote.publish(self._clone)
        return git(self._clone, "rev-parse", "HEAD").strip()


def git(directory: Path, *arguments: str) -> str:
    """Run git as nobody in particular. Raises CalledProcessError."""
    somebody = ["-c", "user.name=cluster test", "-c", "user.email=cluster-test@example.com"]
    return subprocess.run(
        ["git", *somebody, *arguments], cwd=directory, capture_output=True, text=True, check=True
    ).stdout
