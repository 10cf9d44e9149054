FROM debian
ENV LANG=C.UTF-8 LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
RUN set -eux; locale -a 2>/dev/null | head -3 > /locales || true; dpkg-query -W -f='${Package}\n' | sort > /packages
RUN rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb /usr/share/doc/* /usr/share/man/*
