"""An event loop whose look-ups of names cannot starve one another, nor hold the process.

`getaddrinfo` blocks a thread for as long as the resolver is silent. asyncio's few shared threads would soon
all wait for one dead name, and the name of the pager could not be looked up.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

_Question = tuple[Any, ...]


class ResolvingLoop(asyncio.SelectorEventLoop):
    """Looks a name up once for all who ask at the same time, in a thread that nobody waits for."""

    def __init__(self) -> None:
        super().__init__()
        self._questions: dict[_Question, asyncio.Future[Any]] = {}

    async def getaddrinfo(  # as asyncio declares it
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        question = (host, port, family, type, proto, flags)
        if question not in self._questions:
            self._questions[question] = self._ask(question)
        # Shielded: who gives up must not take the answer from those who still wait.
        found: list[Any] = await asyncio.shield(self._questions[question])
        return found

    def _ask(self, question: _Question) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = self.create_future()
        answer.add_done_callback(lambda _: self._questions.pop(question))
        answer.add_done_callback(asyncio.Future.exception)  # everybody may have given up: then it is nobody's
        threading.Thread(target=self._look_up, args=(question, answer), daemon=True).start()
        return answer

    def _look_up(self, question: _Question, answer: asyncio.Future[Any]) -> None:
        try:
            found = socket.getaddrinfo(*question)
        except Exception as error:  # noqa: BLE001  # handed on to whoever asked
            self._tell(answer.set_exception, error)
        else:
            self._tell(answer.set_result, found)

    def _tell(self, how: Any, what: Any) -> None:
        # The loop may have ended meanwhile.
        with contextlib.suppress(RuntimeError):
            self.call_soon_threadsafe(how, what)
