FROM busybox
RUN echo 1 > /f
RUN mv /f /g
