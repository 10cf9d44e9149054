FROM busybox
ARG sig=RTMIN+3
STOPSIGNAL ${sig}
