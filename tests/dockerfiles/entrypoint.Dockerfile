FROM busybox
ENTRYPOINT ["/bin/echo"]
CMD ["x"]
