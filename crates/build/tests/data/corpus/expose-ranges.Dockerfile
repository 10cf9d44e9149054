FROM busybox
ARG p=9000
EXPOSE $p 8000-8002/udp 53/sctp
