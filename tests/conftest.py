from __future__ import annotations

from pathlib import Path

import pytest
from transformers import BertConfig, BertModel

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=2, help="how often tests/test_faults.py kills the pipeline")


@pytest.fixture
def root() -> Path:
    return ROOT


@pytest.fixture
def small_bert() -> BertModel:
    config = BertConfig(
        vocab_size=60, hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, max_position_embeddings=32
    )
    return BertModel(config, add_pooling_layer=False)
