from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel

from pipeline.batching import pad
from pipeline.pooled import PooledClassifier, load_pooled

IDS = [np.array([2, 7, 3]), np.array([2, 11, 12, 13, 14, 15, 16, 3])]


@pytest.mark.parametrize("normalize", [False, True])
def test_a_query_is_the_mean_of_its_own_tokens_whatever_it_is_padded_to(small_bert: BertModel, normalize: bool) -> None:
    model = PooledClassifier(small_bert, 3, normalize).eval()
    with torch.inference_mode():
        alone, padded = model.embed(**pad(IDS[:1]))[0], model.embed(**pad(IDS))[0]
        mean = small_bert(**pad(IDS[:1])).last_hidden_state[0].mean(dim=0)
    torch.testing.assert_close(alone, padded)
    torch.testing.assert_close(alone, mean / mean.norm() if normalize else mean)


def test_the_raw_encoder_is_not_saved_a_second_time(small_bert: BertModel, tmp_path: Path) -> None:
    small_bert.save_pretrained(tmp_path / "raw")
    model = PooledClassifier(small_bert, 3, normalize=True).eval()
    model.save(tmp_path / "frozen", with_encoder=False)
    assert [path.name for path in (tmp_path / "frozen").iterdir()] == ["head.safetensors"]
    loaded = load_pooled(tmp_path / "raw", tmp_path / "frozen", normalize=True).eval()
    with torch.inference_mode():
        assert torch.equal(loaded(**pad(IDS)).logits, model(**pad(IDS)).logits)
