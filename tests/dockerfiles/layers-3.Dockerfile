FROM busybox
RUN rm -rf /bin/ls && mkdir /bin/ls
