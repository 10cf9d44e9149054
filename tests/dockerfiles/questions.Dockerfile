FROM busybox AS one
ARG A=1
RUN true
