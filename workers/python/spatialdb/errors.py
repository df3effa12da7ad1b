"""What can go wrong for a worker.

Responsible for: the exceptions of this package, and what a gRPC status means.
Not responsible for: refused rows. Those are normal outcomes and arrive as `Rejected`.
"""

from __future__ import annotations

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"
# With these codes connecting again cannot help.
_FINAL_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
}


class SpatialdbError(Exception):
    """Any error of this package."""

    #: Whether connecting again cannot help.
    is_final = False


class Unreachable(SpatialdbError):
    """Nothing answers at the address, or the connection broke."""

    def __init__(self, address: str, detail: str) -> None:
        super().__init__(f"cannot reach spatialdb at {address}: {detail}")
        self.address = address
        self.detail = detail


class Refused(SpatialdbError):
    """The server, or a check of this package before sending, said no. `reason` is one of docs/errors.md."""

    def __init__(self, reason: str, detail: str, is_final: bool = False) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.is_final = is_final


class Replaced(Refused):
    """A newer session of the same worker type and name took over. This one should not come back."""

    def __init__(self, detail: str) -> None:
        super().__init__("SESSION_REPLACED", detail, is_final=True)


class NotConnected(SpatialdbError):
    """There is no session now, so nothing was written, or it was lost before its fate was known."""


class Full(SpatialdbError):
    """Too much waits to be sent. Nothing of the call was taken; `await worker.drain()` makes room."""


class ProtocolError(SpatialdbError):
    """The server sent what the protocol does not allow."""


def error_of(address: str, error: grpc.aio.AioRpcError) -> SpatialdbError:
    """What the end of a call means for a worker."""
    code, is_final = error.code(), error.code() in _FINAL_CODES
    info = _error_info(error)
    if info is not None:
        detail = info.metadata.get("detail") or error.details() or ""
        return Replaced(detail) if info.reason == "SESSION_REPLACED" else Refused(info.reason, detail, is_final)
    detail = error.details() or ""
    if is_final:
        return Refused(code.name, detail, is_final)
    return Unreachable(address, f"{code.name}: {detail}")


def _error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo | None:
    metadata = error.trailing_metadata()
    for key, value in metadata or ():
        if key != _DETAILS_KEY:
            continue
        try:
            status = status_pb2.Status.FromString(value if isinstance(value, bytes) else value.encode())
        except DecodeError:
            return None  # not ours
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info) and info.domain == "spatialdb":
                return info
    return None
