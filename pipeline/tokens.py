"""Texts to word-piece ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from pipeline import artifacts
from pipeline.errors import UserError
from pipeline.text import clean_text


def load_tokenizer(encoder: Path, max_tokens: int) -> Tokenizer:
    """Loads an encoder's tokenizer, cutting texts at ``max_tokens`` word pieces and padding none.

    Raises:
        UserError: there is no encoder, or it came without one.
    """
    file = encoder / artifacts.TOKENIZER_FILE
    if not encoder.exists():
        raise UserError(f"{encoder}: no such folder: run `make repro`, or `dvc pull {encoder}`")
    if not file.exists():
        raise UserError(f"{file}: no such file: the encoder that fetch.encoder names has none; take all-MiniLM-L6-v2, the default")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """Word-piece ids of texts that are cleaned as training's were, an int64 array of shape (T_i,) each, [CLS] and [SEP] included."""
    return [np.array(encoding.ids, dtype=np.int64) for encoding in tokenizer.encode_batch([clean_text(text) for text in texts])]
