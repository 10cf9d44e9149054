# Stages by name and by number, of which one is for nothing.
ARG BASE=debian
FROM busybox AS assets
RUN mkdir -p /out/css && echo 'body {}' > /out/css/site.css && echo asset > /out/asset
FROM ${BASE} AS tests
RUN false
FROM ${BASE} AS compile
COPY --from=assets /out /src
RUN gzip -9nk /src/css/site.css && cat /src/asset > /src/compiled
FROM ${BASE}
COPY --from=2 /src/compiled /usr/share/compiled
COPY --from=compile /src/css/ /var/www/css/
COPY --from=0 /out/asset /usr/share/
CMD ["cat", "/usr/share/compiled"]
