"""A model repository on the hub that is brought to hold a folder's files and no others: in one commit, so whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

from pipeline import hub
from pipeline.errors import UserError
from pipeline.publishing.folder import PROVENANCE, files

KEPT = {".gitattributes"}  # the hub's own
REMEDY = "no file there was changed; run again"


class Pushed(NamedTuple):
    """What came of it."""

    url: str  # of the commit
    deleted: list[str]  # files that an earlier version had


def push(repository: str, folder: Path, message: str, public: bool, replace: bool) -> Pushed:
    """Uploads a folder to ``user/name`` and makes the repository, private unless ``public``, where there is none.

    Large files are sent first, by the protocol of git LFS; they belong to nothing until the commit names them. The client's newer
    protocol (Xet) may split a folder over several commits, and is switched off.

    Raises:
        UserError: the hub or the rights are not to be had, the repository is public and was not to be or the other way round, it holds what
            `publish` did not put there (and ``replace`` is not set), or it changed meanwhile.
    """
    constants.HF_HUB_DISABLE_XET = True
    api = HfApi()
    try:
        hub.preflight()
        _log_in(api)
        api.create_repo(repository, private=not public, exist_ok=True)
        info = api.model_info(repository)
        if info.private == public:
            told = "is private, and --public was given" if public else "is public, and --public was not"
            raise UserError(f"{repository}: {told}: name another repository, or change this one's settings on the hub")
        there = {sibling.rfilename for sibling in info.siblings or []} - KEPT
        if there and PROVENANCE not in there and not replace:
            raise UserError(
                f"{repository}: holds {len(there)} files and no {PROVENANCE}: it was not made by this command: name another repository, "
                f"or pass --replace"
            )
        wanted = files(folder)
        deleted = sorted(there - wanted.keys())
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *[CommitOperationAdd(name, folder / name) for name in wanted],
            *[CommitOperationDelete(name) for name in deleted],
        ]
        commit = api.create_commit(repository, operations, commit_message=message, parent_commit=info.sha)
    except hub.HubError as error:
        raise UserError(f"{repository}: {error}: {REMEDY} where the hub can be reached") from None
    except HFValidationError as error:
        raise UserError(f"--repo {repository}: {hub.first_line(error)}: give user/name") from None
    except HfHubHTTPError as error:
        raise UserError(_explain(repository, error)) from None
    except (OSError, httpx2.HTTPError, RuntimeError, ValueError) as error:  # RuntimeError and ValueError: a large file was not taken
        raise UserError(f"{repository}: the upload failed: {hub.first_line(error)}{_cause(error)}: {REMEDY}") from None
    return Pushed(str(commit.commit_url), deleted)


def _log_in(api: HfApi) -> None:
    remedy = "run `hf auth login`, or set HF_TOKEN to a token with the right to write (https://huggingface.co/settings/tokens)"
    try:
        api.whoami()
    except LocalTokenNotFoundError:
        raise UserError(f"the hub asks who you are: {remedy}") from None
    except HfHubHTTPError as error:
        if error.response.status_code != 401:
            raise
        raise UserError(f"the hub does not know this token: {remedy}") from None


def _explain(repository: str, error: HfHubHTTPError) -> str:
    code = error.response.status_code
    if code == 403:
        said, owner = error.server_message or hub.first_line(error), repository.partition("/")[0]
        return f"{repository}: the hub does not allow it: {said}: if it is the token, use one of {owner}'s with the right to write"
    if code == 412:
        return f"{repository}: somebody else changed it meanwhile: look at what, then run again"
    told = error.server_message if isinstance(error, BadRequestError) and error.server_message else hub.first_line(error)
    return f"{repository}: the hub returned HTTP {code}: {told}: {REMEDY}"


def _cause(error: BaseException) -> str:
    return f" ({hub.first_line(error.__cause__)})" if isinstance(error.__cause__, Exception) else ""
