FROM busybox AS one
RUN echo 1 > /f && chmod 600 /f
FROM busybox
COPY --from=one /f /g
COPY --from=0 /f /h
COPY --from=busybox /bin/busybox /bb
