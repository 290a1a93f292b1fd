"""Programs that tests need and that no lock file brings."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def program(name: str, *, install: str) -> str:
    """Return where a program is; skip the test, in CI fail it, where it is missing."""
    return shutil.which(name) or missing(name, install=install)


def missing(name: str, *, install: str) -> NoReturn:
    """Skip the test and say how to install what it needs; in CI fail it."""
    message = f"{name} is missing: {install}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
