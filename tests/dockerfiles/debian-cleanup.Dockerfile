# What is removed of a base, and made anew in another form.
FROM debian
RUN rm -rf /usr/share/doc /usr/share/man /var/cache/debconf /etc/nginx/sites-available
RUN mkdir /usr/share/doc && touch /usr/share/doc/kept && \
    rm -rf /etc/nginx/snippets && touch /etc/nginx/snippets && \
    rm /etc/nginx/fastcgi_params && mkdir /etc/nginx/fastcgi_params && \
    mv /etc/nginx/modules-enabled /etc/nginx/modules-moved
RUN rm -rf /usr/share/doc && mkdir -p /usr/share/doc/again
