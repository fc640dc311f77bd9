"""The Hugging Face hub, with a short fuse: whether it answers is known within seconds, and every failure is one exception."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx2
from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_hub_download, hf_hub_url

PREFLIGHT_SECONDS = 5.0
BROKEN = (OSError, httpx2.HTTPError, RuntimeError)  # of a hub that breaks off: the client, its HTTP client, and Xet, which has the weights


class HubError(Exception):
    """The hub cannot be had, in one line."""


def preflight() -> None:
    """Asks the hub (``HF_ENDPOINT``) for one small answer.

    The client's own time-outs add up to minutes for a server that accepts and never answers.

    Raises:
        HubError: no healthy answer within ``PREFLIGHT_SECONDS``, name resolution included, or the client is set offline.
    """
    if constants.HF_HUB_OFFLINE:
        raise HubError("the hub client is offline (HF_HUB_OFFLINE is set)")
    outcome = [f"the hub did not answer within {PREFLIGHT_SECONDS:g} s"]
    worker = threading.Thread(target=_probe, args=(constants.ENDPOINT, outcome), daemon=True)
    worker.start()
    worker.join(PREFLIGHT_SECONDS)
    if outcome[-1]:
        raise HubError(f"{outcome[-1]} ({constants.ENDPOINT})")


def download(repository: str, revision: str, file: str) -> tuple[Path, str]:
    """Downloads one file of a model at a revision into the hub's cache.

    Returns:
        Its path and what the hub says that it is: a large file's sha256, another's sha1 as a blob of git.

    Raises:
        HubError: the download fails, or the hub does not say what it sends.
    """
    try:
        stated = get_hf_file_metadata(hf_hub_url(repository, file, revision=revision)).etag
        path = Path(hf_hub_download(repository, file, revision=revision))
    except BROKEN as error:
        raise HubError(f"downloading {repository}/{file} from the hub failed: {first_line(error)}") from None
    if stated is None or len(stated) not in (40, 64):
        raise HubError(f"the hub does not state the hash of {repository}/{file}")
    return path, stated


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its type."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _probe(endpoint: str, outcome: list[str]) -> None:
    try:  # by the client that will download: its certificates, its proxies
        code = get_session().head(endpoint, timeout=PREFLIGHT_SECONDS).status_code
    except (*BROKEN, ImportError, ValueError, httpx2.InvalidURL) as error:  # of a proxy by SOCKS: a package that is not there
        outcome.append(f"the hub cannot be reached: {first_line(error)}")
    else:
        outcome.append(f"the hub returned HTTP {code}" if code >= 500 else "")
