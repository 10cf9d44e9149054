FROM busybox
COPY --from=more x /x
