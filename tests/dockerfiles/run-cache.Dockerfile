FROM busybox
RUN --mount=type=cache,id=one,target=/c,sharing=locked,mode=0700,uid=1,gid=2 stat -c '%a %u %g' /c > /st; touch /c/x
