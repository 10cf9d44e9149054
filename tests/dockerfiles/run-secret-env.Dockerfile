FROM busybox
RUN --mount=type=secret,id=word,env=WORD test -n "$WORD" && echo ok > /ok
