# Links, pipes, special bits, names that need quoting, attributes, holes.
FROM debian
RUN mkdir -p "/odd/with space" /odd/sticky /odd/setgid && cd /odd && \
    echo one > first && ln first second && ln first "with space/third" && \
    ln -s first soft && ln -s /nowhere/at/all dangling && ln -s .. up && \
    mkfifo pipe && chmod 0640 pipe && \
    chmod 1777 sticky && chmod 2775 setgid && \
    cp /bin/true suid && chmod 4755 suid && \
    touch -- '-dash' 'quote"d' "new\\nline" 'ünïcode' && \
    truncate -s 1M hole && chown 1000:2000 first && chown -h 3:4 soft
RUN perl -e 'my ($p, $n, $v) = ("/odd/hole", "user.origin", "build"); \
      syscall(188, $p, $n, $v, 5, 0) == 0 or die "setxattr: $!"'
RUN echo two >> /odd/second && mv /odd/soft /odd/moved && chmod 0600 /odd/pipe
