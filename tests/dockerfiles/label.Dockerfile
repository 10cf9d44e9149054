FROM busybox
LABEL a=b "c d"="e f" multi="one \
two"
