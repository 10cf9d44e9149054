FROM busybox AS a
RUN echo a > /f
FROM a AS b
RUN echo b >> /f
FROM busybox AS unused
RUN false
FROM busybox
COPY --from=b /f /f
