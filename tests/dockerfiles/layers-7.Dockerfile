FROM busybox
COPY a.txt /same
COPY b.txt /same
