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


DIMS, MATCH, CARRY, UNITS = (  # the coordinates that a model uses: hidden, of keys and of values (8 of 12 a head), of the feed-forward part
    [0, 1, 3, 4, 6, 8, 9, 11, 12, 13, 15, 17, 18, 20, 21, 23],
    [0, 2, 3, 5, 6, 7, 9, 11, *(12 + d for d in (1, 2, 3, 4, 6, 8, 9, 10))],
    [1, 2, 4, 5, 7, 8, 10, 11, *(12 + d for d in (0, 2, 3, 5, 7, 8, 9, 11))],
    [unit for unit in range(32) if unit % 3],
)


def use_only_some_coordinates(model: BertModel) -> None:
    """All others are zero, whatever goes in."""
    for name, parameter in model.named_parameters():
        parameter.data.normal_()
        if "LayerNorm" in name:
            _only(parameter, DIMS)
        elif name.endswith(("query.weight", "query.bias", "key.weight", "key.bias")):
            _only(parameter, MATCH)
        elif ".self.value." in name:
            _only(parameter, CARRY)
        elif ".intermediate." in name:
            _only(parameter, UNITS)
        elif name.endswith("attention.output.dense.weight"):
            _only(parameter.T, CARRY)
        elif name.endswith("output.dense.weight"):
            _only(parameter.T, UNITS)


def _only(parameter: torch.Tensor, rows: list[int]) -> None:
    parameter.data[[row for row in range(len(parameter)) if row not in rows]] = 0


def test_what_a_model_uses_is_kept_and_computes_what_it_did(small_bert: BertModel) -> None:
    torch.manual_seed(0)
    use_only_some_coordinates(small_bert)
    clone = smaller(small_bert, hidden_size=len(DIMS), intermediate_size=len(UNITS))
    small_bert.eval(), clone.eval()
    assert subclone(small_bert, clone, IDS).tolist() == DIMS
    wide_BTH = torch.zeros(2, 5, small_bert.config.hidden_size)
    wide_BTH[..., DIMS] = torch.randn(2, 5, len(DIMS))
    with torch.inference_mode():
        for large, small in zip(small_bert.encoder.layer, clone.encoder.layer, strict=True):
            attended, narrow = (
                layer.attention.output.dense(layer.attention.self(hidden)[0])
                for layer, hidden in ((large, wide_BTH), (small, wide_BTH[..., DIMS]))
            )
            torch.testing.assert_close(narrow, attended[..., DIMS], rtol=1e-4, atol=1e-4)
            fed, narrow = (
                layer.output.dense(layer.intermediate(hidden)) for layer, hidden in ((large, wide_BTH), (small, wide_BTH[..., DIMS]))
            )
            torch.testing.assert_close(narrow, fed[..., DIMS], rtol=1e-4, atol=1e-4)


def test_padding_has_no_say_in_which_dimensions_are_kept(small_bert: BertModel) -> None:
    torch.manual_seed(0)
    unused = [dim for dim in range(small_bert.config.hidden_size) if dim not in DIMS]
    with torch.no_grad():
        words = small_bert.embeddings.word_embeddings.weight
        words.zero_()
        words[0, unused] = torch.randn(len(unused))
        words[1:, DIMS] = torch.randn(len(words) - 1, len(DIMS))
    ids = [np.arange(1, 31), *(np.array([2, number]) for number in range(3, 50))]  # a long one, and padding beside the others
    assert subclone(small_bert, smaller(small_bert, hidden_size=len(DIMS)), ids).tolist() == DIMS


@pytest.mark.parametrize(
    ("shape", "message"),
    [({"hidden_size": 48}, "hidden_size is 48"), ({"num_hidden_layers": 4}, "4"), ({"num_attention_heads": 4}, "heads is 4")],
)
def test_what_cannot_be_cut_out_is_named(small_bert: BertModel, shape: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_fits(small_bert.config, BertConfig(**(small_bert.config.to_dict() | shape)))
