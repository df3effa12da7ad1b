"""How a worker connects, and its bounds.

Responsible for: the settings, their defaults, reading them from the environment.
Not responsible for: acting on them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

ADDRESS_DEFAULT = "127.0.0.1:7400"


def replaced_name(arguments: Sequence[str] | None = None) -> str:
    """The name after `--replace` among the arguments, else of the program's: whose place the worker takes. Empty if there is
    none: then the name is what `connect` finds otherwise."""
    left = list(sys.argv[1:] if arguments is None else arguments)
    for argument, value in zip(left, [*left[1:], ""]):
        if argument == "--replace" or argument.startswith("--replace="):
            name = value if argument == "--replace" else argument.partition("=")[2]
            if not name or name.startswith("--"):
                raise ValueError("--replace needs the name of a worker, e.g. --replace flight-1")
            return name
    return ""


@dataclass
class Options:
    """What `connect` takes. Times are in seconds; what is empty comes from the environment."""

    #: host:port; `SPATIALDB_ADDRESS`, else 127.0.0.1:7400.
    address: str = ""
    #: What kind of worker this is, e.g. "balloons"; `SPATIALDB_WORKER_TYPE`.
    worker_type: str = ""
    #: Unique among workers of the type; `SPATIALDB_WORKER_NAME`, else the server gives one, which is then kept.
    name: str = ""
    #: Who the worker is; `SPATIALDB_TOKEN`.
    token: str = field(default="", repr=False)
    #: Free text for people.
    instance: str = ""
    #: File of the certificates to trust, which turns TLS on; `SPATIALDB_CA`.
    ca: str | os.PathLike[str] | None = None
    #: Files of the worker's own certificate and key, for servers that ask for one.
    cert: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    #: How long `connect` keeps trying to reach a server that is not there yet.
    patience_s: float = 10.0
    #: How long one attempt may take, from dialling to Welcome.
    attempt_s: float = 10.0
    #: Delays between attempts grow from the first to the last of these.
    backoff_min_s: float = 0.1
    backoff_max_s: float = 5.0
    #: Messages sent and not yet decided by the server; more wait.
    in_flight_messages_max: int = 64
    #: Rows written and not yet sent; more are refused with `Full`.
    pending_rows_max: int = 1 << 20
    #: Rows of events that nobody has read; past it they become one `Overflowed`.
    unread_rows_max: int = 1 << 21

    def __post_init__(self) -> None:
        self.address = self.address or os.environ.get("SPATIALDB_ADDRESS", "") or ADDRESS_DEFAULT
        self.worker_type = self.worker_type or os.environ.get("SPATIALDB_WORKER_TYPE", "")
        self.name = self.name or os.environ.get("SPATIALDB_WORKER_NAME", "")
        self.token = self.token or os.environ.get("SPATIALDB_TOKEN", "")
        self.ca = self.ca or os.environ.get("SPATIALDB_CA") or None
        self.cert = self.cert or os.environ.get("SPATIALDB_CERT") or None
        self.key = self.key or os.environ.get("SPATIALDB_KEY") or None
        self.instance = self.instance or f"python, pid {os.getpid()}"
        if not self.worker_type:
            raise ValueError('worker_type is not given and SPATIALDB_WORKER_TYPE is not set; e.g. "balloons"')
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key belong together: one of them is not given")
        for name in ("in_flight_messages_max", "pending_rows_max", "unread_rows_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: at least 1 is needed")
