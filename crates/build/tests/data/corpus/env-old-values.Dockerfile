FROM busybox
ENV abc=hello
ENV abc=bye def=$abc
ENV ghi=$abc
ENV legacy some value with = and spaces
