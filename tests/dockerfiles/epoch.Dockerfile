FROM busybox
ARG SOURCE_DATE_EPOCH
RUN echo x > /dated
