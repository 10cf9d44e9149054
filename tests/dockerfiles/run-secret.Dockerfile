FROM busybox
RUN --mount=type=secret,id=word,required,mode=0444,uid=1,gid=1 cat /run/secrets/word | wc -c > /len
RUN --mount=type=secret,id=word,target=/w stat -c %a /w > /mode
