"""A Google Cloud Storage bucket with a short fuse: what goes wrong is one line that says what it is.

DVC's own client (gcsfs) goes on without credentials when they are bad; what it may not see then looks like data that is missing. Here
the credentials are those that google-auth finds, or an error.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property

import google.auth
import requests
from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, RetryError, Unauthorized
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY

from pipeline.errors import UserError

SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)
PATIENCE_S = 5.0  # how long a failing request is tried again
FILE_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
LOG_IN = f"run `gcloud auth application-default login`, or let {FILE_VARIABLE} name a credentials file"
PULL_RIGHTS = ("storage.objects.get", "storage.objects.list")
PUSH_RIGHTS = ("storage.objects.create",)


@dataclass(frozen=True)
class Bucket:
    """Objects under ``gs://name/folder``; keys are relative to the folder.

    Every method raises ``UserError`` for what the user can fix: no credentials or bad ones, no such bucket, no right, no answer.
    """

    name: str
    folder: str
    anonymous: bool = False

    @classmethod
    def at(cls, url: str, anonymous: bool = False) -> Bucket:
        """The bucket of a ``gs://name/folder`` address."""
        name, _, folder = url.removeprefix("gs://").partition("/")
        if not url.startswith("gs://") or not name:
            raise UserError(f".dvc/config: url: '{url}': not an address like gs://NAME/FOLDER: run `make remote BUCKET=gs://NAME/FOLDER`")
        return cls(name, folder.strip("/"), anonymous)

    def __str__(self) -> str:
        return f"gs://{self.name}/{self.folder}".rstrip("/")

    def check(self, rights: tuple[str, ...]) -> None:
        """Asks the service which of the rights the credentials have, and lists one object.

        House decision: no probe is written. Rights for pushing need not include deleting, so a probe would stay for good.
        """
        with self._one_line():
            bucket = self._client.bucket(self.name)
            granted = bucket.test_iam_permissions(list(rights), timeout=PATIENCE_S, retry=_RETRY)
            missing = ", ".join(right for right in rights if right not in granted)
            if missing:
                raise UserError(
                    f"{self}: {self._who} lack the permission {missing}: grant a role that has it on the bucket, see docs/remote.md"
                )
            list(self._client.list_blobs(self.name, prefix=self._path(""), max_results=1, timeout=PATIENCE_S, retry=_RETRY))

    def md5(self, key: str, download: bool = False) -> str | None:
        """MD5 of an object's bytes, or None when there is no such object.

        Args:
            key: the object.
            download: read the bytes, instead of believing the hash that the service computed when it received them.
        """
        with self._one_line():
            blob = self._client.bucket(self.name).get_blob(self._path(key), timeout=PATIENCE_S, retry=_RETRY)
            if blob is None:
                return None
            if blob.md5_hash and not download:  # objects composed of others have none
                return base64.b64decode(blob.md5_hash).hex()
        return hashlib.md5(self.read(key), usedforsecurity=False).hexdigest()

    def read(self, key: str) -> bytes:
        """The bytes of an object."""
        with self._one_line():
            # no checksum: whoever reads compares with the hash in dvc.lock, and says what differs
            content: bytes = self._client.bucket(self.name).blob(self._path(key)).download_as_bytes(checksum=None, retry=_RETRY)
        return content

    def remove(self, key: str) -> None:
        """Removes an object."""
        with self._one_line():
            self._client.bucket(self.name).blob(self._path(key)).delete(timeout=PATIENCE_S, retry=_RETRY)

    def _path(self, key: str) -> str:
        return f"{self.folder}/{key}".lstrip("/")

    @cached_property
    def _credentials(self) -> Credentials:
        file = os.environ.get(FILE_VARIABLE)
        if self.anonymous or (os.environ.get("STORAGE_EMULATOR_HOST") and not file):
            return AnonymousCredentials()
        try:
            found, _ = google.auth.default(scopes=SCOPES)
        except DefaultCredentialsError as error:
            if file:
                raise UserError(f"{file}: no usable credentials: {': '.join(map(str, error.args))}: {LOG_IN}") from None
            raise UserError(f"{self}: no Google credentials on this machine: {LOG_IN}") from None
        credentials: Credentials = found
        return credentials

    @property
    def _who(self) -> str:
        account = getattr(self.__dict__.get("_credentials"), "service_account_email", None)  # none where it is they that were refused
        return f"the credentials ({account})" if account else "the credentials"

    @cached_property
    def _client(self) -> storage.Client:
        return storage.Client(project=None, credentials=self._credentials)

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except RetryError as error:
            raise UserError(self._line(error.cause or error)) from None
        except (GoogleAPICallError, GoogleAuthError, requests.ConnectionError, requests.Timeout) as error:
            raise UserError(self._line(error)) from None

    def _line(self, error: Exception) -> str:
        if isinstance(error, GoogleAuthError) and not isinstance(error, TransportError):
            return f"{self}: Google does not accept {self._who}: {_refusal(error)}: {LOG_IN}"
        if isinstance(error, Unauthorized):
            return f"{self}: authentication failed (401): {_reason(error)}: {LOG_IN}"
        if isinstance(error, Forbidden):
            return f"{self}: permission denied for {self._who} (403): {_reason(error)}: see docs/remote.md"
        if isinstance(error, NotFound):
            return f"{self}: no such bucket: create it, or fix its name with `make remote BUCKET=gs://NAME/FOLDER`"
        if isinstance(error, GoogleAPICallError):
            return f"{self}: the service returned HTTP {error.code}: {_reason(error)}: try again later"
        return f"{self}: no answer within {PATIENCE_S:g} s ({type(error).__name__}): check the network and try again"


_RETRY = DEFAULT_RETRY.with_timeout(PATIENCE_S)


def _refusal(error: GoogleAuthError) -> str:
    """What the token service says; why a service account may not be acted for, it says in the answer's body alone."""
    told = [str(each) for each in error.args[:1]] or [type(error).__name__]
    with suppress(IndexError, KeyError, TypeError, ValueError):
        told.append(json.loads(error.args[1])["error"]["message"])
    return ": ".join(told)


def _reason(error: GoogleAPICallError) -> str:
    """What the service says, without the request that led to it."""
    return str(error.message).split("prettyPrint=false: ")[-1].rstrip(".")
