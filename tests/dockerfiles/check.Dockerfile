# check=skip=StageNameCasing;error=true
FROM busybox AS Big
RUN true
