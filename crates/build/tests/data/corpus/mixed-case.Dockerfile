FROM busybox aS Mixed
Run echo
COPY a b
