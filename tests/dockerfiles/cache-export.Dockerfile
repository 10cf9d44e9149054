FROM busybox
RUN echo cached > /c
