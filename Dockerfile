# Two images of one package:
#   api    the service; PostgreSQL driver, no torch
#   agent  trains proxy runs; torch, no database driver
# docker build --target api -t mixwright-api .      docker build --target agent -t mixwright-agent .
# For a Ray cluster: docker build --target agent --build-arg AGENT_EXTRAS=agent,ray -t mixwright-agent-ray .

ARG PYTHON_IMAGE=python:3.12-slim-trixie

FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /source
COPY pyproject.toml README.md ./
COPY app ./app
COPY mixers ./mixers
COPY proxy_training ./proxy_training
COPY migrations ./migrations
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM ${PYTHON_IMAGE} AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
# LightGBM needs the OpenMP runtime, which the slim image leaves out. A volume takes its owner from the image: /keys is
# where containers hand each other keys.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 mixwright \
    && install --directory --owner=mixwright --group=mixwright /data /keys
# What the package needs is installed by its list alone, so that a change of code does not install it all again.
WORKDIR /source
RUN touch README.md
COPY pyproject.toml ./

FROM base AS api
RUN pip install ".[service,postgres]"
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel pip install --no-deps --force-reinstall /wheel/*.whl
USER mixwright
WORKDIR /data
ENV MIXWRIGHT_DATA_DIR=/data MIXWRIGHT_HOST=0.0.0.0 MIXWRIGHT_PORT=8321 MIXWRIGHT_LOG_FORMAT=json
EXPOSE 8321
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8321/readyz', timeout=4)"]
CMD ["mixwright", "serve"]

FROM base AS agent
# The default wheel of torch carries CUDA. For machines without a GPU name an index of CPU wheels instead.
ARG TORCH_INDEX_URL=
ARG AGENT_EXTRAS=agent
RUN pip install ${TORCH_INDEX_URL:+--extra-index-url "${TORCH_INDEX_URL}"} ".[${AGENT_EXTRAS}]"
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel pip install --no-deps --force-reinstall /wheel/*.whl
USER mixwright
WORKDIR /data
ENV MIXWRIGHT_URL=http://api:8321 MIXWRIGHT_LOG_FORMAT=json TOKENIZERS_PARALLELISM=false
# An agent that cannot reach its service does nothing useful.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(os.environ['MIXWRIGHT_URL'] + '/healthz', timeout=4)"]
CMD ["mixwright", "agent", "--corpus", "/corpus"]
