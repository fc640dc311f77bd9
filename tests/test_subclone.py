from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from pipeline.batching import pad
from pipeline.subclone import check_fits, subclone

IDS = [np.array([2, 7, 9, 3]), np.array([2, 30, 3])]


def smaller(large: BertModel, **shape: int) -> BertModel:
    return BertModel(BertConfig(**(large.config.to_dict() | shape)), add_pooling_layer=False)


def test_a_clone_of_the_same_shape_computes_the_same(small_bert: BertModel) -> None:
    twin = smaller(small_bert)
    subclone(small_bert, twin, IDS)
    small_bert.eval(), twin.eval()
    with torch.inference_mode():
        torch.testing.assert_close(twin(**pad(IDS)).last_hidden_state, small_bert(**pad(IDS)).last_hidden_state)


def test_a_smaller_clone_holds_coordinates_of_the_large_one(small_bert: BertModel) -> None:
    clone = smaller(small_bert, hidden_size=16, num_hidden_layers=2, intermediate_size=20)
    kept = subclone(small_bert, clone, IDS)
    large_table = small_bert.embeddings.word_embeddings.weight
    small_table = clone.embeddings.word_embeddings.weight
    columns = [int((large_table == small_table[:, [i]]).all(dim=0).nonzero()) for i in range(16)]
    assert columns == sorted(set(columns)) == kept.tolist()
    last, source = clone.encoder.layer[1].output.dense.bias, small_bert.encoder.layer[2].output.dense.bias
    assert torch.equal(last, source[columns])


def test_attention_scores_keep_their_scale(small_bert: BertModel) -> None:
    clone = smaller(small_bert, hidden_size=16)
    subclone(small_bert, clone, IDS)
    for model in (small_bert, clone):
        model.requires_grad_(False)
    wide, narrow = small_bert.encoder.layer[0].attention.self.key.weight, clone.encoder.layer[0].attention.self.key.weight
    kept = {float(value) for value in narrow.flatten()}
    assert kept <= {float(value) for value in wide.flatten()}  # keys are copied, queries scaled
    query = clone.encoder.layer[0].attention.self.query.weight
    unscaled = query / (8 / 12) ** 0.5
    source = small_bert.encoder.layer[0].attention.self.query.weight.flatten()
    assert all(torch.isclose(source, value, rtol=1e-5).any() for value in unscaled.flatten())


@pytest.mark.parametrize(
    ("shape", "message"),
    [({"hidden_size": 48}, "hidden_size is 48"), ({"num_hidden_layers": 4}, "4"), ({"num_attention_heads": 4}, "heads is 4")],
)
def test_what_cannot_be_cut_out_is_named(small_bert: BertModel, shape: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_fits(small_bert.config, BertConfig(**(small_bert.config.to_dict() | shape)))
