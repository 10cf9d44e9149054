FROM busybox
RUN mkdir -p /data && chown 33:33 /data && chmod 2775 /data
