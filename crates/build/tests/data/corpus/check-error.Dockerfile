# check=error=true
FROM busybox
MAINTAINER x
