"""How the service says no: one shape for every error, the one that the Open Inference Protocol asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from pipeline.serving.pool import BusyError

RETRY_AFTER_S = 1
KINDS = (["text"], ["texts"])  # of bodies of /v1/predict: pydantic puts them before the path to what is wrong


class Refusal(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="one line; it never quotes a text")


# the codes that a request with a body may get beside its answer, for the OpenAPI schema
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "The body is not valid JSON"},
    401: {"model": Refusal, "description": "The API key is missing or wrong"},
    408: {"model": Refusal, "description": "The body did not arrive in time"},
    413: {"model": Refusal, "description": "The body is larger than the limit, whatever it contains"},
    415: {"model": Refusal, "description": "The headers say that the body is not JSON, or is compressed"},
    422: {"model": Refusal, "description": "The body does not fit the schema"},
    503: {"model": Refusal, "description": "Overloaded: try again after `Retry-After` seconds"},
    504: {"model": Refusal, "description": "The model did not answer in time"},
}


def refuse(status: int, error: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer that says why there is none."""
    return JSONResponse({"error": error}, status, headers)


def refuse_busy() -> JSONResponse:
    """Sheds load: at once, and saying when to come back."""
    return refuse(503, "overloaded: try again later", {"Retry-After": str(RETRY_AFTER_S)})


def handle_errors(app: FastAPI) -> None:
    """Gives what the routes raise the shape of a refusal."""

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 400 and (told := _told_otherwise(request)):
            return refuse(415, told)
        return refuse(error.status_code, error.detail, error.headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        if told := _told_otherwise(request):
            return refuse(415, told)
        first = error.errors()[0]
        _, *path = first["loc"]
        where = ".".join(map(str, path[1:] if path[:1] in KINDS else path))
        if first["type"] == "json_invalid":
            return refuse(400, f"body: not valid JSON at character {where}")
        return refuse(422, f"{where or 'body'}: {first['msg']}")

    @app.exception_handler(BusyError)
    async def _busy(_: Request, __: BusyError) -> JSONResponse:
        return refuse_busy()

    @app.exception_handler(TimeoutError)
    async def _late(_: Request, __: TimeoutError) -> JSONResponse:
        return refuse(504, "the model did not answer in time")


def _told_otherwise(request: Request) -> str | None:
    """What is wrong with the head of a request whose body could not be read: better to know than how the body then looks."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        return "Content-Encoding: send the body as it is, not compressed"
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return None if kind == "application/json" or kind.endswith("+json") else "Content-Type: must be application/json"
