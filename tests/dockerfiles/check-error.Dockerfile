# check=error=true
FROM busybox AS Big
RUN true
