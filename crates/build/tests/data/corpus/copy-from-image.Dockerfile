FROM busybox
COPY --from=docker.io/library/alpine /bin/busybox /b
RUN --mount=from=alpine,target=/alpine ls /alpine
