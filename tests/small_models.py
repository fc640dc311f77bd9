"""A checkpoint with the shape of ours that takes no training, and the features that belong to it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from clones import sh
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForSequenceClassification

from pipeline.student import StudentParams, build_student, save_student

LABELS = ["change_pin", "lost_card", "top_up", "verify_me"]
WORDS = [
    "i",
    "lost",
    "my",
    "new",
    "card",
    "today",
    "pin",
    "code",
    "change",
    "where",
    "top",
    "up",
    "money",
    "fail",
    "verify",
    "passport",
    "why",
    "not",
    "yesterday",
    "please",
    "help",
]
MAX_TOKENS = 16
TEMPERATURE = 0.5
ABSTENTION = {"target_accuracy": 0.98, "threshold": 0.6, "conformal": {"coverage": 0.95, "threshold": 0.1}}


def texts(count: int, seed: int = 0) -> list[str]:
    """Word salads of 1 to 20 words: some are longer than the model reads."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(1, 21))) for _ in range(count)]


def make_tokenizer() -> Tokenizer:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = Tokenizer(WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def make_model() -> BertForSequenceClassification:
    """Random weights, large enough that answers differ."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=5 + len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
        initializer_range=0.3,
    )
    return BertForSequenceClassification(config).eval()


def build(folder: Path, start: str, **shape: int) -> torch.nn.Module:
    """A new student of the intents "lost", "pin?" and "Stop", out of ``folder``'s teacher, pretrained and vocab.txt."""
    params = StudentParams.model_validate({"start": start, "layers": 2, "hidden": 16, "heads": 2, "intermediate": 20} | shape)
    labels, ids = ["lost", "pin?", "Stop"], [np.array([2, 7, 9, 3]), np.array([2, 30, 3])]
    return build_student(params, 0.0, labels, folder / "teacher", folder / "pretrained", folder / "vocab.txt", ids)[0]


def write_split(features: Path, split: str, lines: range) -> None:
    """A feature table whose rows are lines of a file."""
    queries = texts(len(lines), seed=lines.start)
    ids = [encoding.ids for encoding in make_tokenizer().encode_batch(queries)]
    table = {
        "id": [f"train.csv:{line}" for line in lines],
        "text": queries,
        "label": [line % len(LABELS) for line in lines],
        "input_ids": ids,
    }
    pq.write_table(pa.table(table), features / f"{split}.parquet")


def write_project(root: Path) -> None:
    """All that `export` reads: models/tinybert, data/features, metrics/abstention.json, params.yaml."""
    for folder in ("data/features", "metrics", "models/tinybert"):
        (root / folder).mkdir(parents=True)
    make_tokenizer().save(str(root / "data/tokenizer.json"))
    save_student(make_model(), root / "data/tokenizer.json", TEMPERATURE, root / "models/tinybert")
    for start, split in enumerate(("train", "validation", "test")):
        write_split(root / "data/features", split, range(40 * start, 40 * start + 40))
    (root / "data/features/labels.json").write_text(json.dumps(LABELS))
    (root / "metrics/abstention.json").write_text(json.dumps(ABSTENTION))
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    (root / "params.yaml").write_text(yaml.safe_dump({"export": params["export"]}))


def export(root: Path, code: int = 0) -> str:
    """Runs the stage in a project, as DVC does."""
    paths = {"features": "data/features", "model": "models/tinybert", "abstention": "metrics/abstention.json", "onnx": "models/onnx"}
    options = [word for name, path in (paths | {"metrics": "metrics/export.json"}).items() for word in (f"--{name}", path)]
    return sh(root, sys.executable, "-m", "pipeline.export", *options, code=code, variables={"PYTHONPATH": str(Path.cwd())})
