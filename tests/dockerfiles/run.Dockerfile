FROM busybox
RUN mkdir -p /a/b && touch /a/b/c && chmod 1777 /a && ln -s b /a/l && ln /a/b/c /a/hard && mkfifo /a/fifo
RUN ["/bin/touch", "/exec"]
RUN rm -r /etc/group
