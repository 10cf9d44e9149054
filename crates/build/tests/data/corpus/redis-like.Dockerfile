FROM debian:12
ENV REDIS_VERSION 7.2.4
RUN set -eux; \
    savedAptMark="$(apt-mark showmanual)"; \
    echo "${savedAptMark}" $(uname -m)
VOLUME /data
WORKDIR /data
CMD ["redis-server"]
