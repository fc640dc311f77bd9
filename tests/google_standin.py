"""A stand-in for Google's token service and Cloud Storage on 127.0.0.1, as they refuse: the emulator lets everybody in."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from json_standin import JsonHandler, JsonServer, serving

TOKEN = "a-token-of-the-stand-in"
ACCOUNT = "ci@example.org"
REFUSALS = {
    "unauthorized": (401, "Invalid Credentials"),
    "forbidden": (403, f"{ACCOUNT} does not have storage.objects.list access to the Google Cloud Storage bucket."),
    "no bucket": (404, "The specified bucket does not exist."),
    "busy": (503, "We encountered an internal error. Please try again."),
}


ACT = f"/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"
TOKEN_REFUSALS: dict[str, tuple[str, int, dict[str, Any]]] = {  # the path that is asked for a token, and its answer
    "revoked": ("/token", 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}),
    "rejected": ("/token", 400, {"error": "unauthorized_client", "error_description": "Rejected by the attribute condition."}),
    "not enabled": (ACT, 403, {"error": {"code": 403, "message": "The API has not been used.", "status": "PERMISSION_DENIED"}}),
}


class Google(JsonServer):
    """Hands out tokens and refuses in one way: ``mode``, a key of REFUSALS or TOKEN_REFUSALS, or "reader" (may read, not write)."""

    def __init__(self, mode: str) -> None:
        super().__init__(Handler)
        self.mode = mode


class Handler(JsonHandler):
    server: Google

    def do_POST(self) -> None:
        self.content()
        path, code, refusal = TOKEN_REFUSALS.get(self.server.mode, ("", 0, {}))
        if self.path == path:
            self.send(code, refusal)
        else:
            self.send(200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.refuse(401, "Anonymous caller does not have storage.objects.list access to the Google Cloud Storage bucket.")
        elif self.server.mode in REFUSALS:
            self.refuse(*REFUSALS[self.server.mode])
        elif self.path.split("?")[0].endswith("/iam/testPermissions"):
            asked = parse_qs(urlsplit(self.path).query)["permissions"]
            self.send(200, {"permissions": [right for right in asked if right.endswith((".get", ".list"))]})
        else:
            self.send(200, {"items": []})

    def refuse(self, code: int, message: str) -> None:
        self.send(code, {"error": {"code": code, "message": message, "errors": [{"domain": "global", "message": message}]}})


def refuse(mode: str) -> AbstractContextManager[Google]:
    return serving(Google(mode))


@cache
def private_key() -> str:
    """Made once: it takes a while."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def write_key(path: Path, token_url: str) -> None:
    """A service account's key file, whose tokens come from the stand-in."""
    key = {"type": "service_account", "project_id": "toys", "client_email": ACCOUNT, "private_key": private_key(), "token_uri": token_url}
    path.write_text(json.dumps(key))


def write_identity(path: Path, url: str) -> None:
    """What a workflow has in place of a key: its own token, to be exchanged for one that acts for a service account."""
    path.with_suffix(".jwt").write_text("a token of the workflow's")
    identity = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/github/providers/github",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{url}/token",
        "service_account_impersonation_url": f"{url}{ACT}",
        "credential_source": {"file": str(path.with_suffix(".jwt"))},
    }
    path.write_text(json.dumps(identity))
