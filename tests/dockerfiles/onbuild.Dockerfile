FROM busybox AS parent
ONBUILD RUN echo triggered > /trigger
ONBUILD COPY a.txt /onbuild/
FROM parent
RUN cat /trigger /onbuild/a.txt > /both
