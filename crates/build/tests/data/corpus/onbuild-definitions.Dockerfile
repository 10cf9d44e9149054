FROM busybox AS base
ONBUILD ARG X=1
ONBUILD COPY . /app
ONBUILD RUN make X=$X
FROM base AS child
RUN after
