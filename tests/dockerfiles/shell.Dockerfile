FROM busybox
SHELL ["/bin/sh", "-ec"]
RUN echo $- > /flags
CMD echo x
