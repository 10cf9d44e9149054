# A service without root: directories that it owns, a volume, a working directory.
FROM debian
RUN useradd --system --uid 980 --home-dir /var/lib/service --create-home --shell /bin/false service && \
    install -d -o service -g service -m 0750 /var/lib/service/data /var/log/service && \
    install -m 0640 -g service /dev/null /etc/service.conf
VOLUME /var/lib/service/data
WORKDIR /var/lib/service
USER service:service
RUN umask 027 && touch mine && mkdir own && id -un > own/name
