"""An order management system as it should be; each of its three answers can be made to misbehave."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.hostile.peer import Behaviour, Connection, Request, reply_json, routes

if TYPE_CHECKING:
    from collections.abc import Mapping

MODE = "GET /health/mode"
HEALTH = "GET /health/deep"
SWITCH = "POST /admin/mode"

HEALTHY: Mapping[str, Any] = {"status": "healthy", "exchange_connections": "all_connected"}
STARTING: Mapping[str, Any] = {"status": "starting", "exchange_connections": "none"}


@dataclass
class Oms:
    """Switches when it is told to, at once, or never when it is `stuck`; remembers what it was told."""

    mode: str = "active"
    reason: str | None = None
    health: Mapping[str, Any] = field(default_factory=lambda: HEALTHY)
    stuck: bool = False
    drains_for: int = 0
    """So many looks find it draining before it is in standby."""
    told: list[dict[str, Any]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, request: Request) -> None:
        """Do what the request says."""
        with self._lock:
            order = request.document
            self.told.append(order)
            self.reason = order["reason"]
            if not (self.stuck and order["mode"] == "standby"):
                self.mode = order["mode"]

    @property
    def modes_told(self) -> list[str]:
        """The modes that were asked of it, in order."""
        with self._lock:
            return [order["mode"] for order in self.told]

    def document(self) -> dict[str, Any]:
        """Return the mode document."""
        with self._lock:
            draining = self.mode == "standby" and self.drains_for > 0
            self.drains_for -= draining
            return {"mode": "draining" if draining else self.mode, "reason": self.reason}

    def read_mode(self, connection: Connection, request: Request) -> None:
        """Answer with the mode document."""
        reply_json(self.document())(connection, request)

    def read_health(self, connection: Connection, request: Request) -> None:
        """Answer with the health document."""
        reply_json(dict(self.health))(connection, request)

    def switch(self, connection: Connection, request: Request) -> None:
        """Take a switch and say so."""
        self.take(request)
        reply_json({"accepted": True})(connection, request)

    def answers(
        self,
        *,
        mode: Behaviour | None = None,
        health: Behaviour | None = None,
        switch: Behaviour | None = None,
    ) -> Behaviour:
        """Answer as an OMS does, except where told otherwise."""
        return routes(
            {
                MODE: mode or self.read_mode,
                HEALTH: health or self.read_health,
                SWITCH: switch or self.switch,
            }
        )
