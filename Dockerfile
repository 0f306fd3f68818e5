# One image for every process of ours; docker-compose.yml names the command of each.
FROM python:3.11.14-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

WORKDIR /app
# The dependencies change less often than the code: a layer of their own.
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml ./
COPY README.md ./
COPY stream ./stream
COPY producers ./producers
RUN pip install --no-cache-dir --no-deps --no-build-isolation . \
    && useradd --system --no-create-home --uid 10001 leads \
    && mkdir /data && chown leads /data

# Away from /app, so that what is installed is what runs; Faust keeps its folder here.
WORKDIR /data
USER leads
CMD ["python", "-m", "stream", "--help"]
