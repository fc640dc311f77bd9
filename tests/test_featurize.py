from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from pipeline.featurize import describe_lengths, load_tokenizer, token_ids


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "my", "card", "##s", "is", "lost"]
    tokenizer = Tokenizer(WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.enable_padding(length=50)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_ids_are_unpadded_and_cut_with_the_separator_kept(encoder: Path) -> None:
    ids = token_ids(load_tokenizer(encoder, 8), ["my cards", "lost " * 30, ""])
    assert ids.to_pylist() == [[2, 4, 5, 6, 3], [2, 8, 8, 8, 8, 8, 8, 3], [2, 3]]
    assert describe_lengths(ids, 8) == {"mean_tokens": 5.0, "most_tokens": 8, "cut": 1}
