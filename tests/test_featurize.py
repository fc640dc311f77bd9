from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from pipeline.featurize import describe_lengths, token_ids
from pipeline.tokens import load_tokenizer


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
    encodings = load_tokenizer(encoder, 8).encode_batch(["my cards", "lost " * 6, "lost " * 7, ""])  # the second fits just so
    assert token_ids(encodings).to_pylist() == [[2, 4, 5, 6, 3], [2, *6 * [8], 3], [2, *6 * [8], 3], [2, 3]]
    assert describe_lengths(encodings) == {"mean_tokens": 5.75, "most_tokens": 8, "cut": 1}
