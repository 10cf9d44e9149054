FROM busybox AS unused
RUN never
FROM busybox AS used
RUN yes
FROM scratch
COPY --from=used / /
