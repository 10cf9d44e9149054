FROM busybox AS wanted
ARG TARGETSTAGE
RUN echo "$TARGETSTAGE" > /stage
FROM busybox
RUN false
