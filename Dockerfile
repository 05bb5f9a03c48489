FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/capturebot
COPY requirements.lock ./
RUN /opt/capturebot/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY bot bot
COPY captures captures
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && /opt/capturebot/bin/pip install --no-cache-dir --no-index --no-deps /wheels/*.whl

FROM python:3.12-slim
RUN useradd --uid 10001 --create-home --home-dir /var/lib/capturebot capturebot
COPY --from=build /opt/capturebot /opt/capturebot
ENV PATH=/opt/capturebot/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /var/lib/capturebot
VOLUME /var/lib/capturebot
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["capturebot"]
CMD ["serve", "--web", "0.0.0.0:8080"]
