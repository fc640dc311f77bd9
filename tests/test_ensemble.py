from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel

from pipeline.bag_of_words import BagOfWords
from pipeline.ensemble import PRODUCT, Ensemble
from pipeline.features import Queries
from pipeline.pooled import PooledClassifier

TEXTS = ["my card is lost", "top up failed", "close it", "lost card top up"]
QUERIES = Queries(list("abcd"), TEXTS, [np.array([2, *range(10 + row, 12 + 3 * row), 3]) for row in range(4)], None)


@pytest.fixture
def ensemble(small_bert: BertModel) -> Ensemble:
    """The frozen encoder and a fine-tuned one, which is another."""
    torch.manual_seed(0)
    tuned = copy.deepcopy(small_bert)
    for parameter in tuned.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    bag_of_words = BagOfWords.fit(TEXTS[:3], np.arange(3), inverse_regularization=30.0, max_iterations=50, seed=0)
    return Ensemble(bag_of_words, PooledClassifier(small_bert, 3, normalize=True), PooledClassifier(tuned, 3, normalize=False))


def test_what_was_saved_answers_as_before_with_the_raw_encoder_from_where_it_lies(ensemble: Ensemble, tmp_path: Path) -> None:
    ensemble.base_encoder.encoder.save_pretrained(tmp_path / "raw")
    ensemble.save(tmp_path / "teacher")
    loaded = Ensemble.load(tmp_path / "teacher", tmp_path / "raw")
    expected, told = ensemble.log_probabilities(QUERIES, "fp32"), loaded.log_probabilities(QUERIES, "fp32")
    assert list(told) == ["bag_of_words", "base_encoder", "teacher_finetuned", PRODUCT]
    for name, log_p_NC in told.items():
        np.testing.assert_array_equal(log_p_NC, expected[name])
    assert loaded.parameters() == ensemble.parameters()


def test_the_teacher_is_the_renormalised_product_of_its_members(ensemble: Ensemble) -> None:
    told = ensemble.log_probabilities(QUERIES, "fp32")
    product_NC = np.prod([np.exp(told[name]) for name in ("bag_of_words", "base_encoder", "teacher_finetuned")], axis=0)
    np.testing.assert_allclose(np.exp(told[PRODUCT]), product_NC / product_NC.sum(axis=1, keepdims=True), rtol=1e-5)
    assert len({log_p_NC.tobytes() for log_p_NC in told.values()}) == 4
