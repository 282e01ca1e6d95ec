# The application with its locked dependencies; a plain Debian or Ubuntu base with Python 3.11-3.13:
#   docker build -t mec-rllib .
#   docker run --rm -v "$PWD/runs:/runs" mec-rllib tune /app/tune_configs/demo.yaml --out /runs/demo
#   docker run --rm -p 6006:6006 -v "$PWD/runs:/runs" --entrypoint tensorboard mec-rllib --logdir /runs --bind_all
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS dependencies
COPY requirements.lock /tmp/
# The plain index brings torch with several GB of GPU libraries; this one is for CPUs.
ARG TORCH_INDEX=""
RUN python3 -m venv /venv \
 && if [ -n "$TORCH_INDEX" ]; then /venv/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" torch==2.13.0; fi \
 && /venv/bin/pip install --no-cache-dir -r /tmp/requirements.lock

FROM dependencies AS application
COPY . /app
RUN /venv/bin/pip install --no-cache-dir --no-deps /app

FROM ${BASE_IMAGE}
RUN useradd --create-home --uid 1000 mec && mkdir /runs && chown mec /runs
COPY --from=application /venv /venv
COPY tune_configs /app/tune_configs
# numba compiles once and keeps the result here; Ray and Tune write below /tmp and /runs.
ENV PATH=/venv/bin:$PATH NUMBA_CACHE_DIR=/home/mec/.cache/numba PYTHONUNBUFFERED=1
USER 1000
WORKDIR /runs
RUN mec-rllib evaluate --scheduler sjf --config /app/tune_configs/demo.yaml --slots 100
HEALTHCHECK --interval=60s --timeout=20s CMD ["mec-rllib", "--help"]
ENTRYPOINT ["mec-rllib"]
CMD ["--help"]
