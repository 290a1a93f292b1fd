"""What the tests against hostile peers share."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.hostile.scene import Play

# A scene mostly waits; more than this would only slow each other down.
AT_ONCE = 4


@pytest.fixture(scope="session")
def play(request: pytest.FixtureRequest) -> Iterator[Play]:
    """Return what became of a scene; all scenes that were chosen are played side by side, as tests go on."""
    chosen: list[Callable[[], Any]] = [
        callspec.params["scene"]
        for item in request.session.items
        if (callspec := getattr(item, "callspec", None)) and "scene" in callspec.params
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        played: dict[int, Future[Any]] = {id(scene): pool.submit(scene) for scene in chosen}
        try:
            yield lambda scene: played[id(scene)].result()
        finally:
            pool.shutdown(cancel_futures=True)
