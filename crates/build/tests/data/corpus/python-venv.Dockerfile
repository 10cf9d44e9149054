FROM python:3.12-slim AS base
ENV PYTHONUNBUFFERED=1
FROM base AS builder
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
COPY requirements.txt .
RUN pip install -r requirements.txt
FROM base
COPY --from=builder /venv /venv
ENV PATH="/venv/bin:$PATH"
COPY src/ /srv/app/
WORKDIR /srv/app
CMD ["python", "-m", "app"]
