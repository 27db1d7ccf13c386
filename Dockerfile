# The main job, on CPU, from the wheel:
#   pip wheel --no-deps --wheel-dir dist . && docker build -t robustmedclip .
# On GPUs of NVIDIA:
#   docker build -t robustmedclip:cuda --build-arg BASE=nvidia/cuda:12.8.1-runtime-ubuntu24.04 \
#     --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
# In a project's folder (new ones: robustmedclip new my-study, in place of kedro run):
#   docker run --rm --user "$(id -u)" --volume "$PWD:/study" robustmedclip kedro run --pipeline benchmark
ARG BASE=python:3.12-slim
FROM ${BASE}
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PATH=/opt/robustmedclip/bin:$PATH PYTHONUNBUFFERED=1 HOME=/tmp LOGNAME=robustmedclip
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# CUDA's images have no Python.
# hadolint ignore=DL3008
RUN if ! command -v python3 > /dev/null; then \
      apt-get update && apt-get install --yes --no-install-recommends python3 python3-venv \
      && rm -rf /var/lib/apt/lists/*; \
    fi && python3 -m venv /opt/robustmedclip

COPY dist/*.whl /dist/
# hadolint ignore=DL3013
RUN wheel=$(ls /dist/*.whl) && pip install --no-cache-dir --extra-index-url "${TORCH_INDEX}" "${wheel}[dicom,distributed,s3]"

WORKDIR /study
USER 1000
CMD ["kedro", "run", "--pipeline", "benchmark"]
