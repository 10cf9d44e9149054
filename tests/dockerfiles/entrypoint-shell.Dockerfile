FROM busybox
CMD ["lost"]
ENTRYPOINT echo hello
