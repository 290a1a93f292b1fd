"""What the tests of the manifests share."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.k8s.tree import SHIPPED, Tree, changed_copy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def shipped() -> Tree:
    """Return the manifests as they are shipped."""
    return SHIPPED


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[str, str, str], Tree]:
    """Copy the manifests and replace a text in one file, which must be there."""
    return partial(changed_copy, tmp_path)
