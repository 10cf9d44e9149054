# Configuration from build arguments and variables.
FROM debian
ARG PORT=8080
ARG WORKERS
ENV PORT=${PORT} \
    WORKERS=${WORKERS:-2} \
    GREETING="it's \"quoted\""
RUN printf 'port=@PORT@\nworkers=@WORKERS@\n' > /etc/app.in && \
    sed -e "s/@PORT@/$PORT/" -e "s/@WORKERS@/$WORKERS/" /etc/app.in > /etc/app.conf && rm /etc/app.in && \
    printf '%s\n' "$GREETING" > /etc/greeting
LABEL org.opencontainers.image.title="templated" \
      org.opencontainers.image.version="${PORT}-${WORKERS}"
EXPOSE ${PORT}
