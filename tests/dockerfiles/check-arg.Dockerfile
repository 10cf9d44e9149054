FROM busybox AS Big
RUN true
