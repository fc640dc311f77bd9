"""Serves a model folder over HTTP: predictions, the Open Inference Protocol, metrics, and a page for people.

Reads   models/onnx, as stage `export` wrote it
Run     python -m pipeline.serve --model models/onnx

Every option can also be given in the environment, as SERVE_ and its name; the API key only there (SERVE_API_KEY). See docs/service.md.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import sys
import time
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from pipeline.errors import UserError, exit_with_one_line
from pipeline.revisions import head
from pipeline.serving.app import Version, create_app
from pipeline.serving.classifier import Classifier
from pipeline.serving.heads import heads_within
from pipeline.serving.settings import Settings, read_settings

log = logging.getLogger("serve")


class Server(uvicorn.Server):
    """Uvicorn that, told to end, first says that it is not ready and goes on for a while, so that nobody is sent here in vain."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self.app = app
        self.drain_s = settings.drain_s
        patience_s = int(settings.body_timeout_s + settings.timeout_s) + 1  # what a request in flight may take at most
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,  # it logs queries of addresses; ours logs none
                server_header=False,
                ws="none",
                proxy_headers=False,  # nothing here asks for the client's address
                loop="asyncio",  # uvloop reads as much at a time as it likes
                http=heads_within(settings.body_timeout_s),
                timeout_graceful_shutdown=patience_s,
            )
        )

    async def main_loop(self) -> None:
        """Until it is told to end, and the drain after that."""
        await super().main_loop()
        self.app.state.ending = True
        until = time.monotonic() + self.drain_s
        while time.monotonic() < until and not self.force_exit:  # a second Ctrl-C
            await asyncio.sleep(0.1)


def check_address(host: str, port: int) -> None:
    """Raises UserError where nothing can listen there: told before a model is loaded, and in a line, as uvicorn does not."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        told = (error.strerror or str(error)).partition(" (")[0]
        wrong = "port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "host"
        raise UserError(f"{host}:{port}: {told}: choose another {wrong}: `make serve {wrong.upper()}=..`, or --{wrong}") from None


def describe(classifier: Classifier, settings: Settings) -> Version:
    """What is running."""
    manifest = classifier.manifest
    return Version(
        commit=settings.commit or _commit(),
        model_sha256=classifier.sha256,
        graph=classifier.graph,
        labels=manifest.labels,
        threshold=manifest.threshold,
        metrics=manifest.metrics,
    )


def _commit() -> str | None:
    """The commit of the repository that the command runs in; an image has none."""
    try:
        return head(Path())[0]
    except (UserError, FileNotFoundError):  # no repository, or no git
        return None


def main() -> None:
    """Reads settings, loads the model, serves until SIGTERM."""
    settings = read_settings(sys.argv[1:], os.environ, __doc__)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    check_address(settings.host, settings.port)
    classifier = Classifier.load(settings.model, settings.threads)
    Server(create_app(classifier, settings, describe(classifier, settings)), settings).run()


if __name__ == "__main__":
    exit_with_one_line(main)
