"""The model card: metadata that the hub reads, and what a stranger should know before he trusts the model. No figure is typed here."""

from __future__ import annotations

from typing import Any, NamedTuple

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from pipeline.lock import MODEL, ONNX
from pipeline.markdown import code, table
from pipeline.packages import NAMED_IN_RESULTS
from pipeline.publishing.facts import OWN_NAME, Facts
from pipeline.tables.sample import OUT_OF_SCOPE

METRICS = {  # of metrics/evaluate.json: the hub's identifier, a name, and what the metric was computed with
    "accuracy": ("accuracy", "accuracy", None),
    "macro_f1": ("f1", "macro-F1", {"average": "macro"}),
    "top3_accuracy": ("top_k_accuracy", "accuracy of the three best", {"k": 3}),
    "ece": ("ece", "expected calibration error", None),
}
WEAKEST = 5  # intents and confusions that a card names


class Tables(NamedTuple):
    """Tables that the documents have too, in Markdown."""

    results: str
    abstention: str
    export: str  # empty: the graphs are not beside the card


def make_card(facts: Facts, tables: Tables, place: str, name: str) -> ModelCard:
    """The card of the checkpoint that ``facts`` tell of, which is to lie at ``place``: a folder, or ``user/name`` on the hub."""
    body = "\n\n".join(
        section.strip()
        for section in (
            _what(facts, name, place),
            _use(facts),
            _data(facts),
            _training(facts),
            _results(facts, tables),
            _calibration(facts),
            _out_of_scope(facts, tables),
            _limits(facts),
            _cost(facts),
            *([f"## Exported graphs\n\nUnder `onnx/`, for a runtime without torch.\n\n{tables.export}"] if tables.export else []),
            _provenance(facts),
        )
    )
    return ModelCard(f"---\n{metadata(facts, name).to_yaml()}\n---\n\n{body}\n")


def metadata(facts: Facts, name: str) -> ModelCardData:
    """What the hub indexes: licence, base model, datasets, and the test split's figures as fractions (``model-index``)."""
    dataset = facts.dataset
    told = [(*METRICS[key], facts.student[key]) for key in METRICS]
    return ModelCardData(
        model_name=name,
        language="en",
        license=facts.encoder.licence.lower() if dataset.licence and facts.encoder else None,  # of weights made of unknown data: none
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["intent-classification", *(["distillation"] if facts.distilled else []), "tinybert"],
        base_model=[encoder.repository for encoder in (facts.start, facts.encoder) if encoder],
        datasets=[dataset.repository] if dataset.repository else None,
        metrics=[metric for metric, _, _, _ in told],
        eval_results=[
            EvalResult(
                task_type="text-classification",
                dataset_type=dataset.repository or dataset.name,
                dataset_name=dataset.name,
                dataset_revision=dataset.revision or None,
                dataset_split="test",
                metric_type=metric,
                metric_name=title,
                metric_value=value,
                metric_args=given,
            )
            for metric, title, given, value in told
        ],
    )


def _what(facts: Facts, name: str, place: str) -> str:
    params = facts.params
    start = {
        "subclone": "initialized by cutting down the fine-tuned encoder",
        "pretrained": f"initialized from {facts.start.repository if facts.start else 'a pre-trained model'}",
        "scratch": "randomly initialized",
    }[params["train.student.start"]]
    taught = "an ensemble of small teachers" if facts.distilled else "the labels alone"
    shape = f"{params['train.student.layers']} layers, {params['train.student.hidden']} wide, "
    return f"""# {name}

A classifier of {facts.student["parameters"] / 1e6:.1f} million parameters that sorts English queries into
{facts.metrics["data"]["intents"]} intents: {"" if facts.start else shape}{start}, taught by {taught}.

```python
from transformers import pipeline

classify = pipeline("text-classification", model="{place}")
classify("Can I choose another PIN in the app?", truncation=True)
```

Probabilities become calibrated confidences when the logits are divided by the `temperature` in `calibration.json` before the softmax."""


def _use(facts: Facts) -> str:
    return f"""## Intended use

To triage an inbox of short English queries from customers, one request each, about what the {facts.metrics["data"]["intents"]} intents
cover. Queries that the model is unsure of (confidence below {facts.metrics["abstention"]["threshold"]:.3f}) must go to a person, and
customers whose query was sorted wrongly must be able to reach one.

Not meant for: decisions about people that nobody reviews; other languages; texts with several requests; intents it was not trained on;
finding fraud, emergencies or persons at risk. Measure it on your own queries before you rely on it."""


def _data(facts: Facts) -> str:
    data, dataset = facts.metrics["data"], facts.dataset
    where = f", on the hub as `{dataset.repository}` at revision `{dataset.revision}`" if dataset.repository else ""
    splits = ("train", "validation", "test")
    rows = [
        ["queries", *(f"{data[split]['rows']:,}" for split in splits)],
        ["queries per intent, fewest to most", *(f"{data[s]['fewest_per_intent']} to {data[s]['most_per_intent']}" for s in splits)],
        ["words, median / most", *(f"{data[s]['median_words']:g} / {data[s]['most_words']}" for s in splits)],
        ["near-duplicates in train, same intent / other", *(_twins(data[s]) for s in splits)],
    ]
    refit = (
        " The validation queries are in train too; nothing was chosen on them in this run."
        if facts.metrics["train"]["validation_in_train"]
        else ""
    )
    dropped = ", ".join(f"{key.replace('_', ' ')} {count}" for key, count in data["dropped"].items())
    return f"""## Data

{code(dataset.name)}{where}. Licence: {dataset.licence or "not stated here: the data is somebody's own"}.{_sentence(dataset.citation)}

{table(["", *splits], rows, " rrr")}
Rows dropped before the split: {dropped}.{refit}"""


def _training(facts: Facts) -> str:
    machine, params = facts.metrics["machine"], facts.params
    knobs = {key: value for key, value in params.items() if key.startswith(("train.", "featurize."))}
    copies = " and their augmented copies" if params["train.copies_per_epoch"] else ""
    queries = f"{facts.metrics['data']['train']['rows']:,} queries"
    gpu = f" and {machine['gpu']}" if "gpu" in machine else ""
    encoder = f"{facts.encoder.repository} at `{facts.encoder.revision}`" if facts.encoder else str(params["fetch.encoder"])
    taught = (
        f"The teachers are the other rows of the results; their encoder is {encoder}.\n"
        f"Their product is the teacher whose probabilities the student learns, for {queries}{copies}."
        if facts.distilled
        else f"The student learns the labels of {queries}. The other rows of the results are for comparison; their encoder is\n{encoder}."
    )
    return f"""## Training

{taught}
It took {facts.metrics["train"]["steps"]:,} steps in {machine["precision"]} on {machine["threads"]} threads of {machine["cpu"]}{gpu}.
All knobs are in `provenance.json`; these are the student's:

{table(["knob", "value"], [[code(key), code(value)] for key, value in knobs.items()])}"""


def _results(facts: Facts, tables: Tables) -> str:
    return f"""## Results

On the {facts.metrics["data"]["test"]["rows"]:,} queries of the test split, each model scored once; in brackets the 95 % interval:
of accuracy Wilson's, of macro-F1 that of {facts.params["evaluate.bootstrap_samples"]} bootstrap resamples of the queries.
One seed: the intervals do not include the variance between seeds.

{tables.results}
The student's true intent is among its three best in {_percent(facts.student, "top3_accuracy")} of the queries."""


def _calibration(facts: Facts) -> str:
    chosen = "fitted on validation" if facts.params["train.calibration_temperature"] is None else "given"
    return f"""## Calibration

Temperature {facts.metrics["train"]["temperature"]:g}, {chosen}; expected calibration error on test {_percent(facts.student, "ece")} over
{facts.params["evaluate.calibration_bins"]} bins of equal width. On queries unlike the test split's, calibration may be worse.

![Reliability](plots/reliability.png)"""


def _out_of_scope(facts: Facts, tables: Tables) -> str:
    file = facts.params["evaluate.out_of_scope"]
    chosen = "chosen on validation for a target" if facts.params["evaluate.threshold"] is None else "given"
    foreign = (
        f" They were written to match no intent of {OWN_NAME}, which has BANKING77's; a model with other intents may rightly accept some."
        if file == str(OUT_OF_SCOPE) and facts.dataset.name != OWN_NAME
        else ""
    )
    return f"""## What it does with out-of-scope queries

Out-of-scope queries get an intent all the same; only the confidence threshold can reject them. It was {chosen}, and is
evaluated on the test split and on out-of-scope texts ({code(file)}).{foreign}

{tables.abstention}
![What each threshold would do](plots/risk_coverage.png)"""


def _limits(facts: Facts) -> str:
    features = facts.metrics["features"]
    weakest = ", ".join(f"{code(row['intent'])} {100 * float(row['f1']):.0f}" for row in facts.weakest[:WEAKEST])
    wrong = ", ".join(f"{code(row['intent'])} as {code(row['predicted'])} ({row['queries']})" for row in facts.confusions[:WEAKEST])
    return f"""## Limits

- English only: the base encoder and its vocabulary are. The model inherits the biases of the encoder and the data; none were measured.
- Queries are truncated at {features["max_tokens"]} word pieces, with `truncation=True`: {features["test"]["cut"]} of the test split were.
- Weakest intents, F1 in %: {weakest or "none"}. Strongest confusions on test: {wrong or "none"}.
- Copied weights are bit-identical, retrained ones only on the same class of machine with the same versions."""


def _cost(facts: Facts) -> str:
    run = facts.cost
    if run is None:
        return "## Cost and carbon\n\nNot measured for this recipe on this CPU."
    hours = sum(run["wall_seconds"].values()) / 3600
    gpu = " and a GPU" if "cuda" in (run["params"][stage].get("device") for stage in ("teach", "train")) else ", no GPU"
    return f"""## Cost and carbon

Measured in another run of the same recipe, `{run["command"]}`, over all stages, for the teachers and one student:
{60 * hours:.0f} minutes and {run["peak_rss_mib"] / 1024:.1f} GiB on {run["threads"]} threads of {run["cpu"]}{gpu};
so at most {run["threads"] * hours:.1f} core-hours. Energy was not metered: multiply by the power draw of a core and the carbon intensity
of your grid."""


def _provenance(facts: Facts) -> str:
    changed = ", with changes that are in no commit" if facts.dirty else ""
    versions = ", ".join(f"{name} {facts.results.packages[name]}" for name in NAMED_IN_RESULTS if name in facts.results.packages)
    rows = [
        ["commit", f"`{facts.commit}`{changed}"],
        ["`dvc.lock`, sha256", f"`{facts.lock_sha256}`"],
        ["dataset, as DVC hashes it", f"`{facts.results.dataset}`"],
        ["checkpoint, as DVC hashes it", f"`{facts.locked(MODEL)}`"],
        ["graphs, as DVC hashes them", f"`{facts.locked(ONNX)}`"],
        *(["encoder", f"{e.repository} at `{e.revision}`, {e.licence}"] for e in (facts.encoder, facts.start) if e),
        ["versions", versions],
    ]
    return f"""## Provenance

{table(["", ""], rows)}
`provenance.json` has all hashes and knobs. In a clone of the repository at that commit, `make verify` rebuilds every output and says
whether it is the same. Written by `python -m pipeline.card` from the run's own files."""


def _percent(figures: dict[str, float], metric: str) -> str:
    return f"{100 * figures[metric]:.1f} % [{100 * figures[f'{metric}_low']:.1f}, {100 * figures[f'{metric}_high']:.1f}]"


def _twins(split: dict[str, Any]) -> str:
    keys = ("near_twins_in_train_same_intent", "near_twins_in_train_other_intent")
    return " / ".join(str(split[key]) for key in keys) if keys[0] in split else ""


def _sentence(text: str) -> str:
    return f" {text}." if text else ""
