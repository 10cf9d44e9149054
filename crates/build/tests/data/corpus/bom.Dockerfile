# escape=`
FROM busybox
RUN x `
 y
