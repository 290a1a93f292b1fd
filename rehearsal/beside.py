"""What goes on beside a block of code, for as long as that lasts."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine


@asynccontextmanager
async def beside(coroutine: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run a coroutine beside the block, and cancel it at its end; raises what the coroutine raised."""
    task = asyncio.ensure_future(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()
