FROM debian
COPY --chmod=755 entry.sh /usr/local/bin/docker-entrypoint.sh
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["server"]
VOLUME /var/lib/data
HEALTHCHECK --interval=30s --timeout=3s CMD test -e /run/ready
