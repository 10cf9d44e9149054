FROM busybox
RUN --mount=type=tmpfs,target=/ x
