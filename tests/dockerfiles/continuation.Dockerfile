FROM busybox
RUN echo a \
# comment inside
  && echo b > /b \

  && echo c > /c
