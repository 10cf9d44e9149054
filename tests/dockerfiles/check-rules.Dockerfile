FROM --platform=linux/amd64 busybox as Big
from busybox AS context
FROM busybox AS twice
FROM busybox AS twice
ARG API_KEY
ENV SECRET_TOKEN=x
WORKDIR rel
LABEL a=$PAHT
EXPOSE 80/TCP 127.0.0.1:1:1
CMD echo a
CMD echo b
