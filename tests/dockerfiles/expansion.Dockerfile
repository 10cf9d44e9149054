FROM busybox
ARG V=abc.tar.gz
ENV E1=$V E2=${V} E3=${X:-def} E4=${V:+alt} E5=${X:+none} E6=\$V
LABEL l=${E3}
WORKDIR /${E3}
