FROM debian
RUN groupadd --system --gid 999 app && useradd --system --uid 999 --gid app --home-dir /srv/app --create-home app
WORKDIR /srv/app
COPY --chown=app:app dir .
USER app
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["id"]
