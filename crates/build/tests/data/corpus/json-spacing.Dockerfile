FROM busybox
RUN  [ "a" , "b\u0041" ]
CMD [ ]
ENTRYPOINT ["x" "y"]
