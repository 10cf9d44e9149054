FROM busybox
ARG A=default
ARG B
RUN echo "$A-$B" > /args
ENV A=env
RUN echo $A > /env
