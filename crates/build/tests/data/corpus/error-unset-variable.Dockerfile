FROM busybox
ENV a="${needed:?must be given}"
