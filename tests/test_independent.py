from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import artifacts
from pipeline.independent import without_twins

TRAIN = {"where is my new card": "card", "please close my account": "close", "which rate do you use": "rate"}
# the first is a twin of a training query of its label, the second of one of another label, the third of none
TEST = {"Where is my new card?": "card", "close my account please": "card", "my gran wants a card as well": "card"}


def write_split(folder: Path, split: str, queries: dict[str, str]) -> None:
    path = folder / "data" / "prepared" / artifacts.split_table(split)
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [f"{split}:{line}" for line in range(len(queries))]
    pq.write_table(pa.table({"id": ids, "text": list(queries), "label": list(queries.values())}), path)


def test_accuracy_without_twins_leaves_out_what_a_training_query_of_the_label_tells(tmp_path: Path) -> None:
    write_split(tmp_path, "train", TRAIN)
    write_split(tmp_path, "test", TEST)
    answers = [("card", "card"), ("card", "close"), ("rate", "card")]
    predictions = [
        {"id": f"test:{line}", "label": "card", "predicted": student, "confidence": "0.5", "teacher": teacher}
        for line, (student, teacher) in enumerate(answers)
    ]
    assert without_twins(tmp_path, predictions) == {"queries": 2, "accuracy": {"tinybert": 0.5, "teacher": 0.5}}
