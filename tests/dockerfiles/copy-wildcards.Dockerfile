FROM busybox
COPY *.txt /all/
COPY ?.txt /one/
COPY [ab].txt /class/
COPY dir/*/c.txt /deep/
