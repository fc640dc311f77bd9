"""The application: routes, and what stands around them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Security
from fastapi.security import APIKeyHeader
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.responses import FileResponse, Response

from pipeline.serving.classifier import Answer, Classifier
from pipeline.serving.gate import KEY_HEADER, Gate, SafeHeaders
from pipeline.serving.metrics import Metrics, Observe
from pipeline.serving.open_inference import health_router, model_router
from pipeline.serving.pool import Pool
from pipeline.serving.predictions import predictions_router
from pipeline.serving.refusals import REFUSALS, handle_errors
from pipeline.serving.settings import Settings

PAGE = Path(__file__).parent / "page"


class Version(BaseModel):
    """What is running."""

    commit: str | None
    model_sha256: str
    graph: str
    labels: int
    threshold: float
    metrics: dict[str, Any]


def create_app(classifier: Classifier, settings: Settings, version: Version) -> FastAPI:
    """The service for one model.

    Its ``state.ending`` is set when the process is about to end; the rest of its state is the routes' own.
    """
    metrics = Metrics()
    pool = Pool(classifier.answer, settings.workers, settings.max_waiting_texts, settings.timeout_s)
    metrics.texts_waiting.set_function(lambda: pool.texts)
    metrics.stuck.set_function(lambda: pool.stuck)

    async def ask(texts: Sequence[str], top_k: int) -> list[Answer]:
        answers = await pool.answer(texts, top_k)
        metrics.count(answers)
        return answers

    model = version.model_sha256[:12]
    # no pages that load scripts from a CDN; no redirections: where TLS ends before the service they lead to http://, key and text with them
    app = FastAPI(title="Intents", version=model, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.ending = False

    def ready() -> bool:
        return pool.alive and not app.state.ending

    routers = [
        predictions_router(classifier.labels, model, ask),
        model_router(settings.name, model, classifier.labels, ready, ask),
        about_router(version, metrics),
    ]
    key = [] if settings.api_key is None else [Security(APIKeyHeader(name=KEY_HEADER, auto_error=False))]  # the gate asks for it
    app.include_router(health_router(lambda: pool.alive, ready, model))
    for router in routers:
        app.include_router(router, dependencies=key)
    add_page(app)
    handle_errors(app)
    paths = frozenset({"/", *app.openapi()["paths"], "/openapi.json"})
    app.add_middleware(Gate, settings=settings, metrics=metrics)  # the last added stands outermost
    app.add_middleware(Observe, metrics=metrics, paths=paths)
    app.add_middleware(SafeHeaders, ending=lambda: app.state.ending)
    return app


def about_router(version: Version, metrics: Metrics) -> APIRouter:
    """``/version`` and ``/metrics``."""
    router = APIRouter(tags=["about"])

    @router.get("/version", responses={401: REFUSALS[401]})
    async def get_version() -> Version:
        """The commit and the model that are running, and what the model scored."""
        return version

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, 401: REFUSALS[401]})
    async def get_metrics() -> Response:
        """Counters for Prometheus."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router


def add_page(app: FastAPI) -> None:
    """The page for people at ``/``, its files under ``/static/``."""

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def get_page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    app.mount("/static", StaticFiles(directory=PAGE), name="static")
