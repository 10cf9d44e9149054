# check=experimental=all
# wrong comment
ARG a=1
# a right comment
ARG a
FROM busybox
