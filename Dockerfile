# The application with its locked dependencies, for one machine or for every node of a Ray cluster.
#   docker build -t mec-rllib .
#   docker run --rm -v "$PWD/runs:/runs" mec-rllib tune /app/tune_configs/demo.yaml --out /runs/image
#   docker run --rm -v "$PWD/runs:/runs" -p 6006:6006 --entrypoint tensorboard \
#     mec-rllib --logdir /runs --bind_all
# `make image-test` builds and tries it without a Docker engine. Any Debian or Ubuntu with Python
# 3.11-3.13 and its venv module is a base.
ARG BASE_IMAGE=python:3.11.13-slim-bookworm

FROM ${BASE_IMAGE} AS requirements
WORKDIR /build
COPY pyproject.toml deploy/dependencies.py ./
RUN python3 dependencies.py cluster > requirements.txt

# Built anew only if the requirements change.
FROM ${BASE_IMAGE} AS dependencies
# Torch from the default index brings several GB of GPU libraries; this adds an index, such as
# PyTorch's for CPUs, whose wheel is preferred. A pip.conf of your own: --secret id=pip_conf,src=...
ARG PIP_EXTRA_INDEX_URL
WORKDIR /build
COPY requirements.lock deploy/constraints.txt ./
COPY --from=requirements /build/requirements.txt ./
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python3 -m venv /venv \
 && /venv/bin/pip install --no-cache-dir -r requirements.txt -c requirements.lock -c constraints.txt

FROM dependencies AS application
COPY pyproject.toml README.md LICENSE ./
COPY mec_rllib mec_rllib
COPY callbacks callbacks
COPY tune_configs tune_configs
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /venv/bin/pip install --no-cache-dir --no-deps .

FROM ${BASE_IMAGE}
# Ray's launchers and KubeRay start login shells, which forget PATH.
# hadolint ignore=SC2016
RUN useradd --create-home --uid 1000 mec \
 && install --directory --owner=mec /runs \
 && echo 'PATH=/venv/bin:$PATH' > /etc/profile.d/mec-rllib.sh
COPY --from=application /venv /venv
COPY tune_configs /app/tune_configs
# numba compiles once, below, and keeps the result; Ray writes below /tmp, experiments below /runs.
ENV PATH=/venv/bin:$PATH NUMBA_CACHE_DIR=/home/mec/.cache/numba PYTHONUNBUFFERED=1
USER 1000
WORKDIR /runs
RUN mec-rllib check /app/tune_configs/demo.yaml
HEALTHCHECK --interval=60s --timeout=20s CMD ["mec-rllib", "--help"]
ENTRYPOINT ["mec-rllib"]
CMD ["--help"]
