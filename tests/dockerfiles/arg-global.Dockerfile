ARG BASE=busybox
ARG V=global
FROM ${BASE}
RUN echo "[$V]" > /before
ARG V
RUN echo "[$V]" > /after
