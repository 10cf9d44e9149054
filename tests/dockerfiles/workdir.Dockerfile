FROM busybox
WORKDIR /a/b
RUN pwd > here
ENV D=dir
WORKDIR $D
RUN pwd > here
WORKDIR ..
COPY a.txt .
