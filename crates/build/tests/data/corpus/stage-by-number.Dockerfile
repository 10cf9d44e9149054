FROM busybox
RUN echo zero
FROM busybox
COPY --from=0 /a /a
COPY --from=alpine:3.20 /etc/os-release /os
