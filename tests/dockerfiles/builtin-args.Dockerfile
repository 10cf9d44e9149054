FROM busybox
RUN --mount=type=cache,target=/c hostname > /host
