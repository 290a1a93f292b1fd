"""The name service of a process, answered by a table: a name, its addresses, or how it fails."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

HANGS = "hangs"
UNKNOWN = "unknown"
FAILS = "fails"

# socket.getaddrinfo is where a process meets the resolver; below it the C library blocks just as this does.
SOURCE = """
    import json, pathlib, socket, time

    TABLE = json.loads({table!r})
    LOOKED_UP = pathlib.Path({journal!r})
    resolve = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **kwargs):
        name = host.decode() if isinstance(host, bytes) else host
        if name not in TABLE:
            return resolve(host, port, *args, **kwargs)
        with LOOKED_UP.open("a") as journal:
            print(name, file=journal)
        match TABLE[name]:
            case "hangs":
                time.sleep(30)
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            case "unknown":
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            case "fails":
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            case addresses:
                return [found for address in addresses for found in resolve(address, port, *args, **kwargs)]

    socket.getaddrinfo = getaddrinfo
"""


def answering(folder: Path, table: Mapping[str, str | Sequence[str]]) -> dict[str, str]:
    """Write the table into `folder`; return what must be in a process's environment to be answered by it."""
    source = textwrap.dedent(SOURCE).format(table=json.dumps(table), journal=str(folder / "looked-up"))
    (folder / "sitecustomize.py").write_text(source, "utf-8")
    return {"PYTHONPATH": str(folder)}


def looked_up(folder: Path) -> list[str]:
    """Return the names of the table that were asked for, in order."""
    journal = folder / "looked-up"
    return journal.read_text("utf-8").splitlines() if journal.exists() else []
