# The service, without torch, around the model of this commit. In the root of the repository, after `make repro` or `dvc pull models/onnx`:
#   docker build --file dockerfiles/api.Dockerfile --build-arg COMMIT="$(git rev-parse HEAD)" --tag intents .
FROM python:3.11.15-slim-bookworm@sha256:b18992999dbe963a45a8a4da40ac2b1975be1a776d939d098c647482bcad5cba AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PATH=/venv/bin:$PATH

FROM base AS packages
WORKDIR /build
COPY requirements-serve.lock ./
RUN python -m venv /venv \
 && pip install --no-cache-dir --no-deps --require-hashes --requirement requirements-serve.lock \
 && pip check \
 && python -m compileall -q /venv/lib

# the final stage takes its files from here alone: no image without a model that dvc.lock vouches for. chmod: a checkout made under a strict
# umask has files that the service's user could not read
FROM packages AS checked
WORKDIR /service
COPY pipeline/__init__.py pipeline/artifacts.py pipeline/check_model.py pipeline/command_line.py pipeline/decision.py pipeline/errors.py \
  pipeline/lock.py pipeline/manifest.py pipeline/onnx_session.py pipeline/revisions.py pipeline/serve.py pipeline/text.py pipeline/
COPY pipeline/serving/ pipeline/serving/
COPY models/onnx/ models/onnx/
COPY dvc.lock ./
RUN python -m pipeline.check_model --model models/onnx --lock dvc.lock \
 && python -m compileall -q pipeline \
 && chmod -R a+rX .

FROM base
ARG COMMIT=""
ENV SERVE_COMMIT=$COMMIT SERVE_MODEL=models/onnx SERVE_HOST=0.0.0.0 SERVE_PORT=8080
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin service
COPY --from=packages /venv /venv
COPY --from=checked /service /service
WORKDIR /service
USER 10001
EXPOSE 8080
# asks at SERVE_PORT: set the port by that, not by --port; and the service itself, not the proxy that Docker may hand to containers
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(f'http://127.0.0.1:{os.environ[\"SERVE_PORT\"]}/v2/health/live', timeout=2)"]
ENTRYPOINT ["python", "-m", "pipeline.serve"]
