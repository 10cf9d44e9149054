FROM busybox AS tools
FROM debian:12
WORKDIR /w
RUN --mount=type=bind,from=tools,source=/bin,target=/tools \
    --mount=type=bind,source=conf,target=conf,rw \
    --mount=type=tmpfs,target=/tmp,size=64m \
    --mount=type=secret,id=token,required \
    --mount=type=secret,id=key,target=/k,mode=0440,uid=5,gid=6 \
    --mount=type=secret,id=api,env=API_TOKEN \
    --mount=type=ssh --mount=type=ssh,id=other,target=/s \
    --mount=type=cache,target=cache,uid=1000,gid=1000,mode=0700 \
    --mount=type=cache,target=/pc,sharing=private,from=tools,source=/etc \
    run $API_TOKEN
