"""--check: what would happen, without doing it."""

from hooks.settings import Logging
from hooks.verdict import Verdict


async def tried(settings: Logging) -> Verdict:
    raise NotImplementedError
