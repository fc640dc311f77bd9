"""Closes connections on which no whole head of a request comes, or whose answers nobody reads; reads a little at a time from each.

The gate sees none of it: a request only when its head is there, an answer only until it is handed to the connection.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# Bytes of a connection that are parsed before it is another's turn. asyncio's 256 KiB may be 43,690 chunks of a byte, a third of a second
READ_BYTES = 4096


def heads_within(seconds: float) -> type[asyncio.Protocol]:
    """Uvicorn's protocol, with so many seconds for the head of each request, from the connection or its own first byte on.

    As many for answers to be read: the next one waits for that with its slot in hand, and so does whoever closes the connection. And as
    many for the rest of a body whose request was answered before it was read.
    """

    class Heads(H11Protocol, asyncio.BufferedProtocol):
        """Uvicorn by itself waits for ever, but for a next request of which nothing has come."""

        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[arg-type]
            self._deadline: asyncio.TimerHandle | None = None
            self._unread: asyncio.TimerHandle | None = None
            self._buffer = bytearray(READ_BYTES)

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            transport.set_write_buffer_limits(high=0)  # else `pause_writing` is not told of the last 64 KiB
            self._watch()

        def get_buffer(self, sizehint: int) -> bytearray:
            return self._buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.data_received(bytes(self._buffer[:nbytes]))
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._stop_watching()
            self._stop_waiting()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop_waiting()

        def _watch(self) -> None:
            state = self.conn.their_state
            unasked = state is h11.SEND_BODY and self.cycle.response_complete  # uvicorn throws away what comes, for as long as it comes
            if state is not h11.IDLE and not unasked:
                self._stop_watching()
            elif self._deadline is None:
                self._deadline = self.loop.call_later(seconds, self.transport.close)

        def _stop_watching(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _stop_waiting(self) -> None:
            if self._unread is not None:
                self._unread.cancel()
                self._unread = None

    return Heads
