from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import BertConfig, BertForSequenceClassification

from pipeline.batching import LengthBuckets
from pipeline.inference import run_batches
from pipeline.runtime import fix_runtime
from pipeline.training import Examples, Lesson, Schedule, _optimizer, fit, hard_loss, soft_loss

EPOCHS, BATCH, WARM_UP = 25, 16, 0.1
RNG = np.random.default_rng(0)
IDS = [np.array([2, *RNG.integers(10, 60, size=RNG.integers(2, 9)), 3]) for _ in range(64)]
LABELS = np.array([int(tokens[1] > 35) for tokens in IDS])


def model() -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(
        BertConfig(vocab_size=60, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=2)
    )


def train(
    precision: str = "fp32", head_learning_rate: float = 3e-3, epochs: int = EPOCHS
) -> tuple[BertForSequenceClassification, list[tuple[int, float, int]]]:
    fix_runtime(threads=2, seed=0)
    student, seen = model(), []
    schedule = Schedule(epochs, 3e-3, head_learning_rate, WARM_UP, weight_decay=0.01, precision=precision, device="cpu", seed=5)
    buckets = LengthBuckets(np.array([len(tokens) for tokens in IDS]), lambda _: np.arange(64), BATCH, 5)
    lesson = Lesson(student, student.classifier, Examples(IDS, LABELS), buckets, hard_loss, schedule)
    fit(lesson, lambda epoch, loss: seen.append((epoch, loss, buckets.epoch)))
    return student, seen


def test_training_learns_and_reports_every_epoch() -> None:
    student, seen = train()
    assert [(epoch, shuffled) for epoch, _, shuffled in seen] == [(epoch, epoch - 1) for epoch in range(1, EPOCHS + 1)]  # anew each epoch
    assert seen[-1][1] < 0.2 < seen[0][1]
    assert (run_batches(student, IDS, "fp32").argmax(axis=1) == LABELS).mean() > 0.95


def test_the_head_has_its_own_rate_and_only_matrices_outside_the_embeddings_decay() -> None:
    student = model()
    schedule = Schedule(1, 1e-3, 5e-2, warmup_fraction=0.1, weight_decay=0.1, precision="fp32", device="cpu", seed=0)
    buckets = LengthBuckets(np.array([len(tokens) for tokens in IDS]), lambda _: np.arange(64), 16, 5)
    groups = _optimizer(Lesson(student, student.classifier, Examples(IDS, LABELS), buckets, hard_loss, schedule)).param_groups
    given = {id(parameter): (group["lr"], group["weight_decay"]) for group in groups for parameter in group["params"]}
    told = {name: given.pop(id(parameter)) for name, parameter in student.named_parameters()}
    assert given == {}
    layer = "bert.encoder.layer.0"
    for names, rate, decay in (
        (("classifier.weight",), 5e-2, 0.1),
        (("classifier.bias",), 5e-2, 0.0),
        (("bert.pooler.dense.weight", f"{layer}.attention.self.query.weight", f"{layer}.output.dense.weight"), 1e-3, 0.1),
        (("bert.embeddings.word_embeddings.weight", f"{layer}.output.LayerNorm.weight", f"{layer}.output.dense.bias"), 1e-3, 0.0),
    ):
        assert [told[name] for name in names] == [(rate, decay)] * len(names)


def test_rates_rise_to_their_peaks_and_fall_to_nothing() -> None:
    rates: list[list[float]] = []
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: rates.append([group["lr"] for group in optimizer.param_groups]))
    try:
        train(head_learning_rate=6e-3, epochs=5)
    finally:
        hook.remove()
    steps = 5 * len(IDS) // BATCH
    warm_up = round(WARM_UP * steps)
    expected = [min(step / warm_up, (steps - step) / (steps - warm_up)) for step in range(steps)]
    assert {max(each) for each in zip(*rates, strict=True)} == {3e-3, 6e-3}
    for each in zip(*rates, strict=True):
        np.testing.assert_allclose(np.array(each) / max(each), expected, atol=1e-9)


def test_two_trainings_give_the_same_bits() -> None:
    for precision in ("fp32", "bf16"):
        first, second = train(precision)[0].state_dict(), train(precision)[0].state_dict()
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_learned_in_bf16_answers_in_the_precision_it_is_asked_for() -> None:
    student = train("bf16")[0]
    fresh = BertForSequenceClassification(student.config)
    fresh.load_state_dict(student.state_dict())
    exact, rounded = run_batches(student, IDS, "fp32"), run_batches(student, IDS, "bf16")
    np.testing.assert_array_equal(exact, run_batches(fresh, IDS, "fp32"))
    assert (rounded != exact).any()


def test_soft_loss_is_the_divergence_plus_the_teachers_entropy() -> None:
    torch.manual_seed(1)
    logits, log_p = torch.randn(5, 7), torch.randn(5, 7).log_softmax(-1)
    teacher = (log_p / 2).log_softmax(-1)
    divergence = F.kl_div((logits / 2).log_softmax(-1), teacher, log_target=True, reduction="batchmean")
    entropy = -(teacher.exp() * teacher).sum(-1).mean()
    torch.testing.assert_close(soft_loss(2.0)(logits, log_p), 4 * (divergence + entropy))


def test_soft_loss_of_certain_teachers_is_the_hard_loss() -> None:
    logits, labels = torch.randn(5, 7), torch.tensor([0, 1, 2, 3, 4])
    certain = torch.full((5, 7), -1e4).scatter(1, labels[:, None], 0.0)
    torch.testing.assert_close(soft_loss(1.0)(logits, certain), hard_loss(logits, labels))


def test_inference_does_not_depend_on_the_order_of_queries() -> None:
    student = model()
    forward, backward = run_batches(student, IDS, "fp32"), run_batches(student, IDS[::-1], "fp32")
    np.testing.assert_allclose(forward, backward[::-1], atol=1e-6)
