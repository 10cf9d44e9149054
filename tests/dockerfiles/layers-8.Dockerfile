FROM busybox
RUN ln -s /nowhere /dangling && ln -s ../bin /rel
COPY a.txt /rel/placed
