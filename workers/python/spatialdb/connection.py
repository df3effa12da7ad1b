"""One attachment to a server, from dialling to the end of its stream.

Responsible for: the channel and its settings, TLS, Hello and Welcome.
Not responsible for: what is said after that (`session.py`), or coming back (`worker.py`).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc

from .errors import NotConnected, ProtocolError, Refused, SpatialdbError, Unreachable, error_of
from .options import Options
from .v1 import worker_pb2, worker_pb2_grpc

PROTOCOL_VERSION = 1

_CHANNEL_OPTIONS = [
    # Frames are at most 1 MiB unless a server is set to larger ones.
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    # Notices a server that vanished without closing.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Each attempt dials anew: the delays between attempts are ours.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
]


class Connection:
    """An open session: both directions of its stream."""

    def __init__(self, address: str, channel: grpc.aio.Channel, call: Any, welcome: worker_pb2.Welcome) -> None:
        self.address = address
        self.welcome = welcome
        self._channel = channel
        self._call = call

    async def read(self) -> worker_pb2.ServerMessage:
        """The next message of the server."""
        try:
            message = await self._call.read()
            if message is not grpc.aio.EOF:
                return message  # type: ignore[no-any-return]
            code, detail = await self._call.code(), await self._call.details()
        except grpc.aio.AioRpcError as error:
            raise error_of(self.address, error) from None
        if code != grpc.StatusCode.OK:
            raise Unreachable(self.address, f"{code.name}: {detail}")
        raise Unreachable(self.address, "the server closed the stream")

    async def write(self, message: worker_pb2.ClientMessage) -> None:
        """Hands a message to the transport, as soon as it takes it."""
        try:
            await self._call.write(message)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # Reading tells why.
            raise NotConnected("the connection is down") from None

    async def done_writing(self) -> None:
        """Nothing more will be said."""
        try:
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # it is over already

    async def close(self) -> None:
        """Gives the connection up."""
        self._call.cancel()
        await self._channel.close()


async def attach(options: Options) -> Connection:
    """Dials, says Hello and waits for Welcome."""
    channel = _channel(options)
    try:
        return await asyncio.wait_for(_greet(options, channel), options.attempt_s)
    except asyncio.TimeoutError:
        await channel.close()
        raise Unreachable(options.address, f"no Welcome within {options.attempt_s:g} s") from None
    except BaseException:
        await channel.close()
        raise


async def _greet(options: Options, channel: grpc.aio.Channel) -> Connection:
    call = worker_pb2_grpc.WorkerServiceStub(channel).Attach()  # type: ignore[no-untyped-call]
    hello = worker_pb2.Hello(
        protocol_min=PROTOCOL_VERSION, protocol_max=PROTOCOL_VERSION, worker_type=options.worker_type,
        name=options.name, instance=options.instance, token=options.token,
    )  # fmt: skip
    try:
        await call.write(worker_pb2.ClientMessage(seq=1, hello=hello))
        first = await call.read()
        if first is grpc.aio.EOF:
            await call.code()
            raise Unreachable(options.address, "the stream ended before Welcome")
    except grpc.aio.AioRpcError as error:
        raise error_of(options.address, error) from None
    except asyncio.InvalidStateError:  # it ended while Hello was on its way
        raise await _end_of(options.address, call) from None
    if first.HasField("goodbye"):
        raise Refused(first.goodbye.reason, first.goodbye.detail)
    if not first.HasField("welcome"):
        raise ProtocolError(f"{options.address} answered Hello without Welcome")
    return Connection(options.address, channel, call, first.welcome)


async def _end_of(address: str, call: Any) -> SpatialdbError:
    try:
        await call.read()
    except grpc.aio.AioRpcError as error:
        return error_of(address, error)
    return Unreachable(address, f"{(await call.code()).name}: {await call.details()}")


def _channel(options: Options) -> grpc.aio.Channel:
    if options.ca is None and options.cert is None:
        return grpc.aio.insecure_channel(options.address, options=_CHANNEL_OPTIONS)
    files = [None if path is None else Path(path).read_bytes() for path in (options.ca, options.key, options.cert)]
    return grpc.aio.secure_channel(options.address, grpc.ssl_channel_credentials(*files), options=_CHANNEL_OPTIONS)
