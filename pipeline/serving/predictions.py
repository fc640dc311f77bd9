"""Our own routes: ``POST /v1/predict`` and ``GET /v1/labels``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from pipeline.serving.classifier import Answer
from pipeline.serving.refusals import REFUSALS

# Part of the interface, not settings: a client can rely on them. A text is cut to the model's length; the bound keeps tokenization short.
MAX_TEXTS = 256
MAX_CHARACTERS = 100_000
MAX_TOP_K = 1_000

Text = Annotated[str, Field(max_length=MAX_CHARACTERS)]
Ask = Callable[[Sequence[str], int], Awaitable[list[Answer]]]  # answers texts with so many of the best labels each, and counts them


def whole(value: Any) -> Any:
    """5.0 is an integer to JSON, but not to a strict type; the bounds must stand before this in an annotation, or the schema lacks them."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    top_k: Annotated[int, Field(ge=1, le=MAX_TOP_K), BeforeValidator(whole)] = Field(
        5, description="labels to name for a text, best first; more than there are is all"
    )


class PredictTexts(_Request):
    """Many texts."""

    texts: list[Text] = Field(min_length=1, max_length=MAX_TEXTS)


class PredictText(_Request):
    """One text."""

    text: Text


def _kind(body: Any) -> str:
    """Which of the two a body is meant to be, so that what is wrong with it is told of that one."""
    return "text" if isinstance(body, dict) and "text" in body else "texts"


PredictRequest = Annotated[Annotated[PredictTexts, Tag("texts")] | Annotated[PredictText, Tag("text")], Discriminator(_kind)]


class Candidate(BaseModel):
    """A label, and the calibrated probability that it is the right one."""

    label: str
    confidence: float = Field(ge=0, le=1)


class Prediction(BaseModel):
    """What the model says of one text."""

    label: str
    confidence: float = Field(ge=0, le=1)
    top: list[Candidate] = Field(description="best first; the first is the label")
    accepted: bool = Field(description="false: not sure enough, a person has to look at it")
    label_set: list[str] = Field(description="labels among which the right one is with the probability told in the manifest")
    truncated: bool = Field(description="the text was longer than the model can read; the rest was ignored")


class Named(BaseModel):
    """What comes of a model, and of which."""

    model: str = Field(description="the first twelve digits of `model_sha256` in `/version`: another model has others")


class Predictions(Named):
    """One prediction a text, in their order."""

    predictions: list[Prediction]


class Labels(Named):
    """What a text can be labelled with."""

    labels: list[str]


def predictions_router(labels: Sequence[str], model: str, ask: Ask) -> APIRouter:
    """The routes, for a model with these labels, named by its hash."""
    router = APIRouter(prefix="/v1", tags=["v1"])

    @router.post("/predict", responses=REFUSALS)
    async def predict(body: PredictRequest) -> Predictions:
        """The intent of one text or of many, how sure the model is, and whether a person has to look at it."""
        texts = body.texts if isinstance(body, PredictTexts) else [body.text]
        answers = await ask(texts, body.top_k)
        return Predictions(model=model, predictions=[Prediction.model_validate(answer.as_record()) for answer in answers])

    @router.get("/labels", responses={401: REFUSALS[401]})
    async def get_labels() -> Labels:
        """The labels, in the order of the model's outputs."""
        return Labels(model=model, labels=list(labels))

    return router
