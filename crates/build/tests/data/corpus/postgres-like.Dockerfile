FROM debian:12
ENV LANG=en_US.utf8 PG_MAJOR=15
ENV PATH $PATH:/usr/lib/postgresql/$PG_MAJOR/bin
RUN set -eux; \
	groupadd -r postgres --gid=999; \
	useradd -r -g postgres --uid=999 postgres
VOLUME /var/lib/postgresql/data
COPY docker-entrypoint.sh /usr/local/bin/
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["postgres"]
