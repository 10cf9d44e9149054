FROM busybox
RUN echo said > /c
