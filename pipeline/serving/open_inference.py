"""The Open Inference Protocol, version 2, over REST with JSON tensors, as KServe, Triton and Seldon speak it.

Source: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol. Not offered: the binary tensor
extension, data nested in the tensor's shape (flat it must be), versions in the path (one process serves one model), gRPC.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from pipeline.serving.classifier import Answer
from pipeline.serving.predictions import MAX_TEXTS, Ask, Text, whole
from pipeline.serving.refusals import REFUSALS

OutputName = Literal["label", "confidence", "accepted", "probabilities"]


class Tensor(BaseModel):
    """Name, type and shape; -1 is any number of texts."""

    name: str
    datatype: str
    shape: list[int]


class Model(BaseModel):
    """What the model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class Server(BaseModel):
    """What serves the model."""

    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    """Whether the process works."""

    live: bool


class Ready(BaseModel):
    """Whether requests are welcome."""

    ready: bool


class ModelReady(Ready):
    """Whether requests are welcome at a model."""

    name: str


class _Request(BaseModel):
    model_config = ConfigDict(strict=True)

    parameters: dict[str, Any] | None = Field(None, description="ignored")


class InputTensor(_Request):
    """The texts: N strings."""

    name: Literal["text"]
    datatype: Literal["BYTES"]
    shape: list[Annotated[int, Field(ge=1, le=MAX_TEXTS), BeforeValidator(whole)]] = Field(
        min_length=1, max_length=2, description="[N] or [N, 1]"
    )
    data: list[Text] = Field(min_length=1, max_length=MAX_TEXTS, description="flat")


class OutputChoice(_Request):
    """An output that is wanted."""

    name: OutputName


class InferRequest(_Request):
    """An inference request of the protocol."""

    id: Annotated[str, Field(max_length=1000)] | None = None
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    outputs: list[OutputChoice] | None = Field(None, description="none named: all of them")


class OutputTensor(Tensor):
    """Values in row-major order."""

    data: list[str] | list[bool] | list[float]


class InferResponse(BaseModel):
    """An inference response of the protocol."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


def health_router(alive: Callable[[], bool], ready: Callable[[], bool], version: str) -> APIRouter:
    """Server metadata, and whether it lives and is ready."""
    router = APIRouter(prefix="/v2", tags=["v2"])

    @router.get("", response_model=Server)
    async def get_server() -> Server:
        """Name and version of the server."""
        return Server(name="tinybert-intents", version=version, extensions=[])

    @router.head("/health/live", include_in_schema=False)
    @router.get("/health/live", response_model=Live, responses={503: {"model": Live, "description": "Restart the service"}})
    async def get_live() -> JSONResponse:
        """Whether the process should go on; 503 when inference hangs again and again."""
        return JSONResponse({"live": alive()}, 200 if alive() else 503)

    @router.head("/health/ready", include_in_schema=False)
    @router.get("/health/ready", response_model=Ready, responses={503: {"model": Ready, "description": "Send requests elsewhere"}})
    async def get_ready() -> JSONResponse:
        """Whether requests are welcome; 503 when the service is about to end."""
        return JSONResponse({"ready": ready()}, 200 if ready() else 503)

    return router


def model_router(name: str, version: str, labels: Sequence[str], ready: Callable[[], bool], ask: Ask) -> APIRouter:
    """Metadata and inference of the one model; another name is not found."""
    router = APIRouter(prefix=f"/v2/models/{name}", tags=["v2"])
    tensors = {
        "label": Tensor(name="label", datatype="BYTES", shape=[-1]),
        "confidence": Tensor(name="confidence", datatype="FP32", shape=[-1]),
        "accepted": Tensor(name="accepted", datatype="BOOL", shape=[-1]),
        "probabilities": Tensor(name="probabilities", datatype="FP32", shape=[-1, len(labels)]),
    }

    @router.get("", responses={401: REFUSALS[401]})
    async def get_model() -> Model:
        """What the model takes and gives; the order of `probabilities` is that of `/v1/labels`."""
        inputs = [Tensor(name="text", datatype="BYTES", shape=[-1])]
        return Model(name=name, versions=[version], platform="onnx_onnxv1", inputs=inputs, outputs=list(tensors.values()))

    @router.get(
        "/ready",
        response_model=ModelReady,
        responses={401: REFUSALS[401], 503: {"model": ModelReady, "description": "Send requests elsewhere"}},
    )
    async def get_model_ready() -> JSONResponse:
        """Whether requests are welcome."""
        return JSONResponse({"name": name, "ready": ready()}, 200 if ready() else 503)

    @router.post("/infer", responses=REFUSALS, response_model_exclude_none=True)
    async def infer(body: InferRequest) -> InferResponse:
        """Labels, calibrated confidences, whether they are accepted, and the probabilities of all labels."""
        tensor = body.inputs[0]
        if math.prod(tensor.shape) != len(tensor.data) or tensor.shape[1:] not in ([], [1]):
            raise HTTPException(400, f"inputs.0: shape {tensor.shape} does not fit {len(tensor.data)} texts")
        wanted: Sequence[str] = [output.name for output in body.outputs or []] or list(tensors)
        answers = await ask(tensor.data, len(labels))
        outputs = [
            OutputTensor(name=key, datatype=tensors[key].datatype, shape=[len(answers), *tensors[key].shape[1:]], data=values)
            for key, values in _columns(answers, labels).items()
            if key in wanted
        ]
        return InferResponse(model_name=name, model_version=version, id=body.id, outputs=outputs)

    return router


def _columns(answers: Sequence[Answer], labels: Sequence[str]) -> dict[str, Any]:
    """Every output as a flat list."""
    by_label = [dict(answer.top) for answer in answers]
    return {
        "label": [answer.label for answer in answers],
        "confidence": [answer.confidence for answer in answers],
        "accepted": [answer.accepted for answer in answers],
        "probabilities": [row[label] for row in by_label for label in labels],
    }
