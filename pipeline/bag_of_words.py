"""TF-IDF of words and characters with logistic regression: the baseline that needs no pre-training."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy import sparse
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from pipeline import artifacts
from pipeline.errors import UserError

BYTES_A_WEIGHT = 320  # 285 to 320 were measured: what SciPy's L-BFGS-B and scikit-learn keep while they fit
MEMORY = Path("/proc/meminfo")
WEIGHTS_FILE = "weights.safetensors"
VOCABULARY_FILE = "vocabulary.json"
_VIEWS: dict[str, dict[str, Any]] = {
    "words": {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"\w+|[^\w\s]+"},  # never empty, even for "???"
    "characters": {"analyzer": "char_wb", "ngram_range": (2, 5)},
}


def _vectorizer(view: str, vocabulary: Sequence[str] | None = None) -> TfidfVectorizer:
    return TfidfVectorizer(sublinear_tf=True, dtype=np.float32, vocabulary=vocabulary, **_VIEWS[view])


class BagOfWords:
    """TF-IDF over word 1- to 2-grams and character 2- to 5-grams, and one linear layer."""

    def __init__(self, vectorizers: dict[str, TfidfVectorizer], weight_CV: np.ndarray, bias_C: np.ndarray) -> None:
        self.vectorizers = vectorizers
        self.weight_CV = weight_CV
        self.bias_C = bias_C

    @classmethod
    def fit(cls, texts: Sequence[str], labels: np.ndarray, inverse_regularization: float, max_iterations: int, seed: int) -> BagOfWords:
        """Fits vocabulary and regression to N texts with class indices of shape (N,)."""
        vectorizers = {view: _vectorizer(view).fit(texts) for view in _VIEWS}
        features_NV = _transform(vectorizers, texts)
        weight_CV, bias_C = fit_linear(features_NV, labels, inverse_regularization, max_iterations, seed)
        return cls(vectorizers, weight_CV, bias_C)

    def log_probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Log-probabilities of shape (N, classes), float32."""
        logits_NC = _transform(self.vectorizers, texts) @ self.weight_CV.T + self.bias_C
        log_p_NC: np.ndarray = log_softmax(logits_NC, axis=1)
        return log_p_NC

    @property
    def parameters(self) -> int:
        """Number of fitted weights."""
        return int(self.weight_CV.size + self.bias_C.size)

    def save(self, folder: Path) -> None:
        """Writes weights (safetensors) and vocabulary (JSON)."""
        folder.mkdir(parents=True)
        idf = {f"idf_{view}": vectorizer.idf_ for view, vectorizer in self.vectorizers.items()}
        save_file({"weight": self.weight_CV, "bias": self.bias_C, **idf}, folder / WEIGHTS_FILE)
        artifacts.write_json(
            folder / VOCABULARY_FILE, {view: vectorizer.get_feature_names_out().tolist() for view, vectorizer in self.vectorizers.items()}
        )

    @classmethod
    def load(cls, folder: Path) -> BagOfWords:
        """Reads what ``save`` wrote."""
        weights = load_file(folder / WEIGHTS_FILE)
        vectorizers = {}
        for view, vocabulary in artifacts.read_json(folder / VOCABULARY_FILE).items():
            vectorizers[view] = _vectorizer(view, vocabulary)
            vectorizers[view].idf_ = weights[f"idf_{view}"]
        return cls(vectorizers, weights["weight"], weights["bias"])


def fit_linear(
    features_NV: np.ndarray | sparse.csr_matrix, labels: np.ndarray, inverse_regularization: float, max_iterations: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fits a multinomial logistic regression.

    Returns:
        Weight of shape (classes, V) and bias of shape (classes,), float32. Two classes give two rows like any other number.

    Raises:
        UserError: it would take more memory than Linux has left; other systems are not asked.
    """
    _check_memory(len(np.unique(labels)), features_NV.shape[1])
    regression = LogisticRegression(C=inverse_regularization, max_iter=max_iterations, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of iterations is a knob; validation judges it
        regression.fit(features_NV, labels)
    weight, bias = regression.coef_, regression.intercept_
    if len(weight) == 1:  # the binary case is a sigmoid of one row: the same as a softmax over that row and zeros
        weight, bias = np.concatenate([np.zeros_like(weight), weight]), np.concatenate([np.zeros_like(bias), bias])
    # row-major: safetensors writes memory as it lies, and scikit-learn's coefficients lie column by column
    return np.ascontiguousarray(weight, dtype=np.float32), np.ascontiguousarray(bias, dtype=np.float32)


def _check_memory(classes: int, features: int) -> None:
    if not MEMORY.exists():
        return
    told = dict(line.split(":", 1) for line in MEMORY.read_text(encoding="utf-8").splitlines())
    free = 1024 * sum(int(told[key].split()[0]) for key in ("MemAvailable", "SwapFree"))
    needed = BYTES_A_WEIGHT * (classes if classes > 2 else 1) * (features + 1)
    if needed > free:
        raise UserError(
            f"logistic regression: a weight for each of {classes} intents and {features} features: fitting takes {needed / 1e9:.1f} GB "
            f"of memory, {free / 1e9:.1f} GB are free: take fewer rows, merge intents, or use a machine with more memory"
        )


def _transform(vectorizers: dict[str, TfidfVectorizer], texts: Sequence[str]) -> sparse.csr_matrix:
    return sparse.hstack([vectorizer.transform(texts) for vectorizer in vectorizers.values()], format="csr")
