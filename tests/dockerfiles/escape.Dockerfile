# escape=`
FROM busybox
RUN echo a `
  b > /f
ENV P=c:\dir
