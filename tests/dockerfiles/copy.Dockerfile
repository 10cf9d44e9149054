FROM busybox
COPY a.txt b.txt /two/
COPY dir /dir
COPY dir/ /dir2/
COPY --chown=7:8 a.txt /owned
COPY l /link
