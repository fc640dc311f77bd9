"""Reads a `.wandb` file: records of wandb's own protocol in the frames of LevelDB's log format.

https://github.com/google/leveldb/blob/main/doc/log_format.md; a header of 7 bytes comes first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from wandb.proto import wandb_internal_pb2

BLOCK, HEADER, LAST = 32768, 7, (1, 4)  # FULL and LAST end a record


def read_records(path: Path) -> list[wandb_internal_pb2.Record]:
    return [wandb_internal_pb2.Record.FromString(content) for content in _frames(path.read_bytes())]


def _frames(data: bytes) -> Iterator[bytes]:
    assert data[:4] == b":W&B"
    at, whole = HEADER, b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:  # the rest of a block that no frame's header fits in
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        whole += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in LAST:
            yield whole
            whole = b""
