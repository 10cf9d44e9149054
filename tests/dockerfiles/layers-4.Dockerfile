FROM busybox
RUN mkdir /x && touch /x/1 /x/2
RUN rm -rf /x && mkdir /x && touch /x/3
