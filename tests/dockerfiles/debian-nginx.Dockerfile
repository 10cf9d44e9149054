FROM debian
RUN rm -f /etc/nginx/sites-enabled/default && mkdir -p /usr/share/nginx/html
COPY dir /usr/share/nginx/html
COPY --chown=www-data:www-data a.txt /usr/share/nginx/html/index.html
RUN ln -sf /dev/stdout /var/log/nginx/access.log && ln -sf /dev/stderr /var/log/nginx/error.log
EXPOSE 80
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
