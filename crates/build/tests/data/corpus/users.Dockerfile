FROM busybox
ARG u=app
USER $u:$u
RUN id
WORKDIR /home/app
