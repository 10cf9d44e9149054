FROM busybox AS a
RUN same
FROM busybox AS b
RUN same
FROM scratch
COPY --from=a /x /a
COPY --from=b /x /b
