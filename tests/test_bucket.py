"""Credentials and rights that do not suffice: a real client against a server that refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from google_standin import ACCOUNT, refuse, write_identity, write_key

from pipeline.bucket import PULL_RIGHTS, PUSH_RIGHTS, Bucket
from pipeline.errors import UserError


def check(environment: pytest.MonkeyPatch, folder: Path, mode: str, rights: tuple[str, ...] = PULL_RIGHTS + PUSH_RIGHTS) -> None:
    with refuse(mode) as google:
        write_key(folder / "key.json", f"{google.url}/token")
        environment.setenv("STORAGE_EMULATOR_HOST", google.url)
        environment.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(folder / "key.json"))
        Bucket.at("gs://b/f").check(rights)


@pytest.mark.parametrize(
    ("mode", "line"),
    [
        ("revoked", rf"Google does not accept the credentials \({ACCOUNT}\): invalid_grant: Invalid JWT Signature.: run `gcloud"),
        ("unauthorized", r"authentication failed \(401\): Invalid Credentials: run `gcloud auth application-default login`"),
        ("forbidden", rf"permission denied for the credentials \({ACCOUNT}\) \(403\): {ACCOUNT} does not have storage.objects.list access"),
        ("no bucket", "no such bucket: create it"),
        ("reader", rf"the credentials \({ACCOUNT}\) lack the permission storage.objects.create: grant a role that has it"),
        ("busy", "the service returned HTTP 503: We encountered an internal error. Please try again: try again later"),
    ],
)
def test_what_google_refuses_is_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str, line: str) -> None:
    with pytest.raises(UserError, match=f"^gs://b/f: {line}"):
        check(monkeypatch, tmp_path, mode)


@pytest.mark.parametrize(
    ("mode", "line"),
    [
        ("rejected", r"Error code unauthorized_client: Rejected by the attribute condition\.: run `gcloud"),
        ("not enabled", r"Unable to acquire impersonated credentials: The API has not been used\.: run `gcloud"),
    ],
)
@pytest.mark.parametrize("project", ["", "toys"], ids=["google-auth asks for the project", "a workflow names it"])
def test_an_identity_without_a_key_that_is_refused_is_no_fault_of_the_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str, line: str, project: str
) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", project)
    with refuse(mode) as google:
        write_identity(tmp_path / "identity.json", google.url)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", google.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "identity.json"))
        with pytest.raises(UserError, match=rf"^gs://b/f: Google does not accept the credentials.*: {line}"):
            Bucket.at("gs://b/f").check(PULL_RIGHTS)


def test_a_token_service_that_is_not_there_is_no_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_identity(tmp_path / "identity.json", "http://127.0.0.1:1")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "toys")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "identity.json"))
    with pytest.raises(UserError, match=r"no answer within 5 s \(TransportError\)"):
        Bucket.at("gs://b/f").check(PULL_RIGHTS)


def test_rights_to_read_suffice_for_pulling(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check(monkeypatch, tmp_path, "reader", PULL_RIGHTS)


def test_no_credentials_at_all_are_named_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # or google-auth asks whether this is a machine of Google's
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    with pytest.raises(UserError, match=r"^gs://b/f: no Google credentials on this machine: run `gcloud"):
        Bucket.at("gs://b/f").check(PULL_RIGHTS)


@pytest.mark.parametrize(
    ("content", "cause"),
    [(None, "was not found"), ("{", "is not a valid json file"), ('{"type": "service_account"}', "missing fields"), ("{}", "Type is None")],
)
def test_a_bad_credentials_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, cause: str) -> None:
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with pytest.raises(UserError, match=f"^{path}: no usable credentials: .*{cause}"):
        Bucket.at("gs://b/f").check(PULL_RIGHTS)


def test_a_server_that_is_not_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    with pytest.raises(UserError, match=r"no answer within 5 s \(ConnectionError\)"):
        Bucket.at("gs://b/f").check(PULL_RIGHTS)


@pytest.mark.parametrize("url", ["s3://b/f", "b/f", "gs://", "gs:///f"])
def test_an_address_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(UserError, match=f"url: '{url}': not an address like gs://NAME/FOLDER"):
        Bucket.at(url)
