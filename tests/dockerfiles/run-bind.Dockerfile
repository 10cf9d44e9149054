FROM busybox AS src
RUN echo s > /s
FROM busybox
RUN --mount=type=bind,from=src,source=/s,target=/m cat /m > /copied
RUN --mount=target=/ctx,rw cp /ctx/a.txt /b && echo x > /ctx/new
