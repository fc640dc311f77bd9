"""A connection's protocol in an event loop of ours, its buffers in the kernel as small as they can be."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from pipeline.serving.heads import heads_within

SECONDS = 0.3
CHUNKED = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def connected(app: ASGIApp) -> AsyncIterator[tuple[socket.socket, ServerState]]:
    """A client's socket, and what the server knows of its connections."""
    loop, state = asyncio.get_running_loop(), ServerState()
    config = uvicorn.Config(app, log_config=None)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        for end, buffer in ((listener, socket.SO_SNDBUF), (client, socket.SO_RCVBUF)):
            end.setsockopt(socket.SOL_SOCKET, buffer, 1)  # the smallest there is
        protocol = heads_within(SECONDS)
        async with await loop.create_server(lambda: protocol(config=config, server_state=state, app_state={}), sock=listener):  # type: ignore[call-arg]
            client.setblocking(False)
            await loop.sock_connect(client, listener.getsockname())
            yield client, state


async def answer(send: Send, size: int) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
    await send({"type": "http.response.body", "body": b"x" * size})


async def closed(state: ServerState) -> None:
    """Waits until there was a connection, and none is left."""
    async with asyncio.timeout(20):
        while not state.total_requests or state.connections:
            await asyncio.sleep(0.01)


def test_a_body_in_chunks_of_one_byte_leaves_others_their_turn() -> None:
    """h11 takes 7 µs for a chunk, and all that were read at once without a pause."""
    pieces: list[int] = []

    async def read(_: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            pieces.append(len(message["body"]))
            more = message["more_body"]
        await answer(send, 0)

    async def flood() -> None:
        async with connected(read) as (client, _):
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client, CHUNKED + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
            assert (await loop.sock_recv(client, 100)).startswith(b"HTTP/1.1 200")

    asyncio.run(flood())
    assert sum(pieces) == 20_000
    assert max(pieces) <= 1_000


def test_a_body_that_drips_on_after_the_answer_is_given_up() -> None:
    async def refuse(_: Scope, __: Receive, send: Send) -> None:
        await answer(send, 0)

    async def drip() -> None:
        async with connected(refuse) as (client, state):
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client, CHUNKED)
            assert (await loop.sock_recv(client, 100)).startswith(b"HTTP/1.1 200")
            gone = asyncio.create_task(closed(state))
            while not gone.done():
                try:
                    await loop.sock_sendall(client, b"1\r\nx\r\n")
                except ConnectionError:
                    break
                await asyncio.sleep(SECONDS / 10)
            await gone

    asyncio.run(drip())


def test_an_answer_unread_in_a_buffer_of_ours_does_not_keep_a_connection_open() -> None:
    async def reply(_: Scope, __: Receive, send: Send) -> None:
        await answer(send, 60_000)  # fits between what the kernel's buffers hold and the 64 KiB at which asyncio by itself pauses a writer

    async def ask_and_not_read(head: bytes) -> None:
        async with connected(reply) as (client, state):
            await asyncio.get_running_loop().sock_sendall(client, head)
            await closed(state)

    for connection in (b"keep-alive", b"close"):
        asyncio.run(ask_and_not_read(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: %s\r\n\r\n" % connection))
