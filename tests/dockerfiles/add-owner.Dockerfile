FROM busybox
ADD --chown=5:6 a.txt dir /owned/
