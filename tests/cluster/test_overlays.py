"""What the tests in a cluster would commit and apply, looked at without one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from rehearsal.manifests import render
from tests.cluster import pods, repository
from tests.cluster.argo import Operation
from tests.cluster.conftest import _of_argo_cd
from tests.cluster.repository import DirectoryRemote, Images, Release, Repository, git, git_daemon
from tests.k8s.tree import containers, hooks, standby_hooks, the, variables

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rehearsal.manifests import Manifest

IMAGES = Images(hooks="localhost:5000/hooks:dev", mock=f"mock-oms@sha256:{'1' * 64}")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the tree of a first installation."""
    directory = tmp_path_factory.mktemp("tree")
    repository.write(directory, Release("1", first=True), IMAGES)
    return directory


def _images(manifests: list[Manifest]) -> set[str]:
    return set(re.findall(r"'image': '(\S+?)'", str(manifests)))


def test_nothing_but_the_two_images_is_needed(tree: Path) -> None:
    """No operator's kind, no image from elsewhere."""
    for overlay in (repository.OMS, repository.BASE, repository.WATCHDOG):
        manifests = render(tree / overlay)
        assert {manifest["apiVersion"].partition("/")[0] for manifest in manifests} <= {
            *("v1", "apps", "batch", "policy", "networking.k8s.io", "rbac.authorization.k8s.io")
        }
        assert _images(manifests) <= {IMAGES.hooks, IMAGES.mock}


def test_the_version_is_the_release(tree: Path) -> None:
    """The mock is told the version that PostSync expects."""
    manifests = render(tree / repository.OMS)
    oms = containers(the(manifests, "Deployment", "oms")["spec"]["template"])[0]
    verify = containers(the(manifests, "Job", "oms-postsync-verify")["spec"]["template"])[0]
    assert "--version-name=1" in oms["args"]
    assert variables(verify)["EXPECT_VERSION"] == "1"


def test_the_hooks_are_those_that_are_shipped(tree: Path) -> None:
    """What is changed is who is paged, how long is waited, and at first what absence means; nothing else."""
    shipped = {
        job["metadata"]["name"]: job for job in standby_hooks(render(repository.PROJECT / "k8s" / "oms"))
    }
    for job in standby_hooks(render(tree / repository.OMS)):
        ours = containers(job["spec"]["template"])[0]
        theirs = containers(shipped[job["metadata"]["name"]]["spec"]["template"])[0]
        changed = {name for name, value in variables(ours).items() if variables(theirs).get(name) != value}
        assert changed <= {
            "PAGERDUTY_EVENTS_URL",
            "VERIFY_TIMEOUT_SECONDS",
            "EXPECT_VERSION",
            "STANDBY_IF_ABSENT",
        }
        ours["env"], ours["image"] = theirs["env"], theirs["image"]
        assert job == shipped[job["metadata"]["name"]]


def test_only_the_first_release_may_find_no_oms(tree: Path, tmp_path: Path) -> None:
    """As the runbook says: one commit with, the next without."""
    repository.write(tmp_path, Release("2"), IMAGES)
    assert {
        job["metadata"]["name"]
        for job in standby_hooks(render(tree / repository.OMS))
        if variables(containers(job["spec"]["template"])[0]).get("STANDBY_IF_ABSENT") == "skip"
    } == {"oms-presync-standby"}
    assert "STANDBY_IF_ABSENT" not in str(render(tmp_path / repository.OMS))


def test_argo_cd_is_told_where_the_tests_commit(tree: Path) -> None:
    """The shipped project and Application, with another repository."""
    project, application = _of_argo_cd(tree, "file:///srv/platform.git")
    assert application["spec"]["source"] == {
        "repoURL": "file:///srv/platform.git",
        "targetRevision": "main",
        "path": repository.OMS,
    }
    assert project["spec"]["sourceRepos"] == ["file:///srv/platform.git"]
    assert application["spec"]["project"] == project["metadata"]["name"]


def _absent(directory: Path) -> None:
    assert not directory.exists()


def _empty(directory: Path) -> None:
    directory.mkdir()


def _bare(directory: Path) -> None:
    git(directory.parent, "init", "--quiet", "--bare", "--initial-branch=main", str(directory))


def _with_a_working_tree(directory: Path) -> None:
    git(directory.parent, "init", "--quiet", "--initial-branch=main", str(directory))
    git(directory, "commit", "--quiet", "--allow-empty", "--message", "Somebody else's")


@pytest.mark.parametrize("as_found", [_absent, _empty, _bare, _with_a_working_tree])
def test_a_release_is_a_commit_that_argo_cd_can_fetch(
    tmp_path: Path, as_found: Callable[[Path], None]
) -> None:
    """Two releases are two revisions of main in the directory that Argo CD reaches; in the end it is as it was."""
    clone, directory = tmp_path / "clone", tmp_path / "platform.git"
    clone.mkdir()
    as_found(directory)
    before = _contents(directory)
    remote = DirectoryRemote(directory, directory.as_uri())
    platform = Repository(clone, remote, IMAGES)

    first, second = platform.commit(Release("1", first=True)), platform.commit(Release("2"))

    assert git(directory, "rev-list", "main").split() == [second, first]
    assert git(tmp_path, "ls-remote", remote.url, "main").split()[0] == second
    assert "--version-name=2" in git(directory, "show", f"{second}:{repository.OMS}/kustomization.yaml")
    remote.remove()
    assert _contents(directory) == before


def _contents(directory: Path) -> str | None:
    if not directory.exists():
        return None
    return git(directory, "for-each-ref") if any(directory.iterdir()) else "empty"


@pytest.mark.parametrize(
    "image", ["hooks", "hooks:latest", "localhost:5000/hooks"], ids=["no tag", "latest", "a port is no tag"]
)
def test_an_image_that_a_node_would_pull_anew_is_refused(image: str, tmp_path: Path) -> None:
    """What was loaded into the nodes is in no registry."""
    with pytest.raises(ValueError, match="a tag that is not `latest`"):
        repository.write(tmp_path, Release("1"), Images(hooks=image, mock=IMAGES.mock))


def test_the_pods_that_the_tests_bring_are_restricted() -> None:
    """They run in a namespace that admits nothing else."""
    for manifest in [*pods.pagerduty("mock:1"), *git_daemon("argocd:1")]:
        if manifest["kind"] == "Deployment":
            spec = manifest["spec"]["template"]["spec"]
            assert spec["securityContext"]["runAsNonRoot"]
            assert spec["containers"][0]["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }


def test_an_operation_is_read_as_argo_cd_writes_it() -> None:
    """Hooks by type, with the message that a person sees in the table; other resources are none."""
    operation = Operation(
        {
            "phase": "Failed",
            "message": "one or more synchronization tasks completed unsuccessfully",
            "syncResult": {
                "resources": [
                    {"kind": "Job", "hookType": "PreSync", "hookPhase": "Failed", "message": "exit code 3"},
                    {"kind": "Job", "hookType": "Sync", "hookPhase": "Succeeded", "message": ""},
                    {"kind": "Service", "status": "Synced", "hookPhase": "Running"},
                    {"kind": "Job", "hookType": "SyncFail", "hookPhase": "Succeeded"},
                ]
            },
        }
    )
    assert operation.hooks() == {"PreSync": "Failed", "SyncFail": "Succeeded"}
    assert operation.hook_message("PreSync") == "exit code 3"


def test_every_hook_of_the_example_is_one_that_is_watched(tree: Path) -> None:
    """The stories name the Jobs that are there."""
    names = {job["metadata"]["name"] for job in hooks(render(tree / repository.OMS))}
    assert {"oms-presync-standby", "oms-postsync-verify", "oms-syncfail-alert"} < names
