# What the pipeline runs in, for a machine without Python 3.11: the packages of requirements.lock, and git. The repository is mounted:
#   docker build --file dockerfiles/train.Dockerfile --tag intents-train .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/repository" intents-train dvc repro
# Once data/raw is there (`dvc repro fetch`), it needs no network: add `--network none`.
FROM python:3.11.15-slim-bookworm@sha256:b18992999dbe963a45a8a4da40ac2b1975be1a776d939d098c647482bcad5cba AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PATH=/venv/bin:$PATH

FROM base AS packages
WORKDIR /build
# torch's CPU and GPU wheels carry different hashes under one version, so the lock leaves it out: see the Makefile
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY pyproject.toml requirements.lock ./
# setuptools first: antlr4-python3-runtime has no wheel, and would be built by whatever setuptools is the newest
RUN python -m venv /venv \
 && pip install --no-cache-dir "$(sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)" --index-url "$TORCH_INDEX" \
 && sed -n '/^setuptools==/,/[^\\]$/p' requirements.lock > build.lock \
 && pip install --no-cache-dir --no-deps --require-hashes --requirement build.lock \
 && pip install --no-cache-dir --no-deps --no-build-isolation --require-hashes --requirement requirements.lock \
 && pip check

FROM base
# unpinned: Debian's archive keeps one version alone; git decides nothing of a result
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git make \
 && rm -rf /var/lib/apt/lists/* \
 && git config --system --add safe.directory /repository \
 && useradd --uid 10001 --create-home pipeline
COPY --from=packages /venv /venv
# USER: DVC asks for a name, which the user of `--user` has none of in the image
ENV HOME=/tmp USER=pipeline DVC_SITE_CACHE_DIR=/tmp/dvc HF_HOME=/tmp/huggingface
WORKDIR /repository
USER 10001
HEALTHCHECK NONE
CMD ["dvc", "repro"]
