# A file of a package is moved aside for one of our own.
FROM debian
RUN dpkg-divert --local --rename --divert /etc/nginx/nginx.conf.package --add /etc/nginx/nginx.conf
COPY a.txt /etc/nginx/nginx.conf
RUN test -e /etc/nginx/nginx.conf.package && chmod 644 /etc/nginx/nginx.conf
HEALTHCHECK --interval=10s --timeout=2s --start-period=1s --retries=5 CMD test -e /run/nginx.pid || exit 1
