FROM debian:12
LABEL org.opencontainers.image.title="nginx" maintainer='me <me@example.org>'
RUN apt-get update \
 && apt-get install -y --no-install-recommends nginx \
 # lists are of no use later
 && rm -rf /var/lib/apt/lists/*
COPY nginx.conf /etc/nginx/
EXPOSE 80 443/tcp 443/udp
STOPSIGNAL SIGQUIT
VOLUME ["/var/cache/nginx", "/var/log/nginx"]
CMD ["nginx", "-g", "daemon off;"]
