FROM busybox
COPY --link --chown=app:app a /a
COPY --link --chown=5 a /b
