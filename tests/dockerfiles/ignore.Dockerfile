FROM busybox
COPY . /all
