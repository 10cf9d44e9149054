FROM scratch
COPY a.txt /
CMD ["/a.txt"]
