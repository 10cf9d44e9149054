FROM busybox
ARG V=abc.tar.gz
ARG EMPTY=
ENV A=${EMPTY-x} B=${EMPTY+y} C=${V#*.} D=${V##*.} E=${V%.*} F=${V%%.*} G=${V/a/b} H=${V//a/z} I=${V:?must} J=${V?must}
