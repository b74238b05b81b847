# tempomaster with Prefect: the server, the worker and the deployments are one image.
# The torch build of requirements.lock brings its own CUDA libraries: the same image runs on GPUs.
FROM python:3.11.13-slim-bookworm

# OpenCV's libraries; git, so that runs record the revision they were made by.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 tempo \
    && mkdir -p /app /data /films \
    && chown tempo:tempo /app /data /films
WORKDIR /app
USER tempo
ENV VIRTUAL_ENV=/app/.venv PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1

# Dependencies first: they change less often than the code.
COPY --chown=tempo:tempo requirements.lock pyproject.toml README.md LICENSE ./
RUN python -m venv "$VIRTUAL_ENV" \
    && pip install --no-cache-dir 'uv>=0.9,<1' \
    && uv pip install --no-cache --require-hashes -r requirements.lock

COPY --chown=tempo:tempo . .
RUN uv pip install --no-cache --no-deps --editable .

CMD ["tempo", "--help"]
