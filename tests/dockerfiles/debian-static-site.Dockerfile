# A site of one's own behind Debian's nginx.
FROM debian
ARG SITE=example
RUN rm -f /etc/nginx/sites-enabled/default /var/www/html/*
COPY --chown=33:33 dir /var/www/site/
RUN printf 'server {\n  listen 8080;\n  server_name %s;\n  root /var/www/site;\n}\n' "$SITE" \
      > /etc/nginx/conf.d/site.conf && \
    ln -sf /dev/stdout /var/log/nginx/access.log && \
    ln -sf /dev/stderr /var/log/nginx/error.log
EXPOSE 8080/tcp
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
