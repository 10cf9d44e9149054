FROM busybox
RUN echo \\
ENV a=b\
