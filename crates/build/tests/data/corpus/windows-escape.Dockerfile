# escape=`
FROM busybox
RUN dir `
    c:\temp
ENV p=c:\dir`$x q="a`"b"
