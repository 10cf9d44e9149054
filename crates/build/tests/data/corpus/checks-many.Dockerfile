FROM busybox AS scratch
MAINTAINER me@example.org
ENV KEY secret
ARG DB_PASSWORD=x
WORKDIR relative
EXPOSE 80/TCP 127.0.0.1:8080:80
CMD echo one
CMD echo two
LABEL x=$UNDEFINED y=$PAHT
FROM scratch AS scratch
FROM --platform=linux/amd64 busybox
FROM --platform=$TARGETPLATFORM busybox
FROM ${NOBODY:-busybox}
ONBUILD RUN x
