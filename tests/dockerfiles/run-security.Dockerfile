# syntax=docker/dockerfile:1-labs
FROM busybox
RUN --security=insecure true
RUN --security=sandbox true
