from __future__ import annotations

from pathlib import Path

import pytest
from small_models import make_tokenizer

from pipeline.errors import UserError
from pipeline.tokens import encode, load_tokenizer


def test_texts_are_cleaned_before_they_are_encoded() -> None:
    (clean,) = encode(make_tokenizer(), ["my card"])
    (dirty,) = encode(make_tokenizer(), ["my\0card"])  # the tokenizer by itself would read one word
    assert clean.tolist() == dirty.tolist()


def test_an_encoder_without_a_tokenizer_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokenizer\.json: no such file: the encoder that fetch\.encoder names has none"):
        load_tokenizer(tmp_path, 8)
    with pytest.raises(UserError, match="absent: no such folder: run `make repro`, or `dvc pull"):
        load_tokenizer(tmp_path / "absent", 8)
