from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.serving.settings import read_settings


def test_a_flag_beats_the_environment_beats_the_default() -> None:
    settings = read_settings(["--model", "m", "--port", "1"], {"SERVE_PORT": "2", "SERVE_WORKERS": "3", "PORT": "4"})
    assert (settings.model, settings.port, settings.workers, settings.max_in_flight) == (Path("m"), 1, 3, 64)


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        ([], {}, "--model: missing: name the folder that stage export wrote: --model models/onnx"),
        (["--port", "high"], {}, "--port: 'high': input should be a valid integer"),
        (["--max-in-flight", "0"], {}, "--max-in-flight: '0': input should be greater than or equal to 1"),
        ([], {"SERVE_TIMEOUT_S": "-1"}, "SERVE_TIMEOUT_S: '-1': input should be greater than 0"),
        (["--name", "a/b"], {}, "--name: 'a/b': string should match pattern"),
    ],
)
def test_a_bad_setting_is_one_line_that_names_it_as_it_was_given(arguments: list[str], variables: dict[str, str], message: str) -> None:
    model = ["--model", "m"] if arguments or variables else []
    with pytest.raises(UserError) as refused:
        read_settings([*model, *arguments], variables)
    assert str(refused.value).startswith(message)


def test_the_api_key_comes_from_the_environment_alone_and_is_never_printed(capsys: pytest.CaptureFixture[str]) -> None:
    key = "a key of more than sixteen characters"
    assert key not in repr(read_settings(["--model", "m"], {"SERVE_API_KEY": key}))
    with pytest.raises(UserError, match=r"^SERVE_API_KEY: shorter than 16 characters$") as refused:
        read_settings(["--model", "m"], {"SERVE_API_KEY": "too short"})
    assert "too short" not in str(refused.value)
    with pytest.raises(SystemExit):
        read_settings(["--model", "m", "--api-key", key], {})
    assert "unrecognized arguments" in capsys.readouterr().err
