"""Google Cloud Storage on 127.0.0.1: an emulator that keeps its objects in a folder, to push to and to hurt."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

BUCKET = "toys"


@dataclass(frozen=True)
class Emulator:
    folder: Path
    url: str

    @property
    def variables(self) -> dict[str, str]:
        """What sends DVC and us to the emulator, apart from what DVC remembers of other remotes."""
        return {
            "STORAGE_EMULATOR_HOST": self.url,
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            "DVC_SITE_CACHE_DIR": str(self.folder / "site"),
        }

    @property
    def objects(self) -> Path:
        """The bucket's objects, as files."""
        return self.folder / ".cloudstorage" / BUCKET

    def bucket(self) -> storage.Bucket:
        client = storage.Client(project=None, credentials=AnonymousCredentials(), client_options={"api_endpoint": self.url})
        return client.bucket(BUCKET)


@contextmanager
def emulate(folder: Path) -> Iterator[Emulator]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ["--quiet", "--host", "127.0.0.1", "--port", str(port), "--default-bucket", BUCKET]
    command = [sys.executable, "-m", "gcp_storage_emulator", "--data-dir", str(folder), "start", *where]
    emulator = Emulator(folder, f"http://127.0.0.1:{port}")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait(emulator.url)
            yield emulator
        finally:
            process.kill()


def wait(url: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            assert time.monotonic() < deadline, f"{url}: the emulator did not start"
            time.sleep(0.05)
