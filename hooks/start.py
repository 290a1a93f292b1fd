"""The console scripts: what has to be done before anything heavy is imported.

From the first moment SIGTERM is remembered (as PID 1 Python would ignore it), and the collector does not run
while modules are loaded: a command lives too briefly to make garbage worth collecting.
"""

from __future__ import annotations

import gc
import os
import signal
from importlib import import_module

signals_before_the_loop: list[int] = []


def _run(module: str) -> None:
    gc.disable()
    # Looking for plugins of pydantic reads the metadata of every package: 6 ms for none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: signals_before_the_loop.append(received))
    import_module(module).main()


def presync_standby() -> None:
    _run("hooks.presync_standby")


def postsync_verify() -> None:
    _run("hooks.postsync_verify")


def syncfail_alert() -> None:
    _run("hooks.syncfail_alert")


def return_to_active() -> None:
    _run("hooks.return_to_active")


def standby_watchdog() -> None:
    _run("hooks.standby_watchdog")
