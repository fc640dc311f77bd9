from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BertModel

from pipeline.batching import pad
from pipeline.vocabulary import occurring_rows

IDS = [np.array([2, 17, 40, 3]), np.array([2, 9, 3])]


def test_outputs_are_the_same_with_the_occurring_rows_alone(small_bert: BertModel) -> None:
    small_bert.eval()
    with torch.inference_mode():
        expected = small_bert(**pad(IDS)).last_hidden_state
        with occurring_rows(small_bert, IDS):
            assert small_bert.embeddings.word_embeddings.weight.shape == (6, 24)  # five ids and [PAD]
            assert torch.equal(small_bert(**pad(IDS)).last_hidden_state, expected)


def test_unseen_words_keep_their_vectors_bit_by_bit_and_seen_words_learn(small_bert: BertModel) -> None:
    before = small_bert.embeddings.word_embeddings.weight.detach().clone()
    with occurring_rows(small_bert, IDS):
        optimizer = torch.optim.AdamW(small_bert.parameters(), lr=0.1, weight_decay=0.5)
        small_bert(**pad(IDS)).last_hidden_state.square().sum().backward()
        optimizer.step()
    after = small_bert.embeddings.word_embeddings.weight
    seen = torch.tensor([2, 3, 9, 17, 40])
    unseen = torch.tensor([row for row in range(1, 60) if row not in seen])
    assert torch.equal(after[unseen], before[unseen])
    assert (after[seen] != before[seen]).all()


def test_a_word_outside_the_rows_is_an_error_not_another_word(small_bert: BertModel) -> None:
    with occurring_rows(small_bert, IDS), pytest.raises(IndexError):
        small_bert(**pad([np.array([5])]))
