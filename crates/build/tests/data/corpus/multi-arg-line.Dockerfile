FROM busybox
ARG a=1 b="two words" c
RUN echo $a $b $c
