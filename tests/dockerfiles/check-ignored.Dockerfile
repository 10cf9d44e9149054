FROM busybox
COPY ignored.log /
