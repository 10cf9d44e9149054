FROM debian:12
ENV PHPIZE_DEPS \
		autoconf \
		gcc
ENV PHP_INI_DIR=/usr/local/etc/php
RUN mkdir -p "$PHP_INI_DIR/conf.d"
COPY php-* docker-php-source /usr/local/bin/
ENTRYPOINT ["docker-php-entrypoint"]
WORKDIR /var/www/html
CMD ["php", "-a"]
