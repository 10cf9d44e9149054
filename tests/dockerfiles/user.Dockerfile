FROM busybox
RUN echo worker:x:77:78::/:/bin/sh >> /etc/passwd && echo staff:x:79: >> /etc/group && mkdir /w && chmod 777 /w
USER worker:staff
RUN id -u > /w/uid && id -g > /w/gid
USER 5:6
RUN touch /w/five
