"""What the documents show is what is shipped, and the runbook's entries are whole."""

from __future__ import annotations

import re
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from tests.k8s.tree import PROJECT, of_kind

if TYPE_CHECKING:
    from pathlib import Path

    from tests.k8s.tree import Tree

DOCUMENTS = sorted([PROJECT / "README.md", PROJECT / "k8s" / "README.md", *PROJECT.glob("docs/**/*.md")])
RUNBOOK = (PROJECT / "docs" / "runbook.md").read_text()
ENTRIES = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", RUNBOOK, re.DOTALL | re.MULTILINE))
PARTS = ["**You see**", "**It means**", "**Type**", "**It worked**"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(PROJECT)))
def test_every_example_is_one_of_the_files(document: Path) -> None:
    """Whoever copies from a document gets what the tests hold."""
    shipped = [path.read_text() for path in PROJECT.glob("k8s/**/*.yaml")]
    for example in re.findall(r"^ *```yaml\n(.*?)^ *```", document.read_text(), re.DOTALL | re.MULTILINE):
        assert any(dedent(example) in text for text in shipped), example


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_says_what_is_seen_meant_typed_and_proves_it(entry: str) -> None:
    """An entry without its fourth part leaves somebody wondering at three in the morning."""
    positions = [ENTRIES[entry].find(part) for part in PARTS]
    assert -1 not in positions, dict(zip(PARTS, positions, strict=True))
    assert positions == sorted(positions)


def test_every_entry_is_in_the_list_above() -> None:
    """The list at the top leads to every entry, and nowhere else."""
    linked = re.findall(r"^- \[(.+?)\]\(#(.+?)\)$", RUNBOOK, re.MULTILINE)
    assert linked == [(entry, re.sub(r"[^\w -]", "", entry).lower().replace(" ", "-")) for entry in ENTRIES]


def test_what_is_typed_names_what_is_there(shipped: Tree) -> None:
    """No command of a document is about an object that was renamed since."""
    text = "\n".join(document.read_text() for document in DOCUMENTS)
    manifests = [
        manifest for child in shipped.children().values() for manifest in shipped.manifests_of(child)
    ]
    named = {
        kind: {job["metadata"]["name"] for job in of_kind(manifests, kind)} for kind in ("Job", "CronJob")
    }
    for kind, name in re.findall(r"--kind (\w+) --resource-name (\S+)", text):
        assert name in named[kind]
    assert set(re.findall(r"--from=cronjob/([\w-]+)", text)) <= named["CronJob"]
    applications = set(
        re.findall(r"argocd app (?:sync|get|diff|manifests|wait|terminate-op|history) ([a-z][\w-]*)", text)
    )
    assert applications <= shipped.applications().keys()


def test_every_directory_is_explained(shipped: Tree) -> None:
    """The table of k8s/README.md leaves no directory out."""
    table = (PROJECT / "k8s" / "README.md").read_text()
    listed = {f"k8s/{name}" for name in re.findall(r"`([\w/-]+)/`", table)}
    inside = {"k8s/gitops/apps", "k8s/gitops/projects", "k8s/gitops/root", "k8s/risk-engine/hooks"}
    assert {str(directory) for directory in shipped.kustomizations()} - inside <= listed
