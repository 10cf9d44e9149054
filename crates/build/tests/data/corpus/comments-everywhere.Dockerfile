# first
# second

FROM busybox
# between
RUN echo \
# inside
 a \
   # indented
 b
   # at the end
