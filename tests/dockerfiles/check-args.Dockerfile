# check=experimental=all
ARG TAG
# wrong description
ARG V=1
FROM busybox:${TAG}
FROM --platform=$TARGETPLATFORM busybox:${VV:-latest}
RUN true
