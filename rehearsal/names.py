"""Answers for the cluster's DNS inside a rehearsed process: names and addresses from the table beside this file.

The process runner copies it as `sitecustomize.py`, which Python imports by itself from PYTHONPATH. The table may
change while the process runs; a name that stands in it without an address does not exist (EAI_NONAME), one that
does not stand in it is looked up as ever.
"""

import json
import socket
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("names.json")
_look_up = socket.getaddrinfo


def _answer(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
    name = host.decode() if isinstance(host, bytes) else host
    table = json.loads(TABLE.read_text())
    if name not in table:
        return _look_up(host, port, *args, **kwargs)
    if not table[name]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [found for address in table[name] for found in _look_up(address, port, *args, **kwargs)]


socket.getaddrinfo = _answer
