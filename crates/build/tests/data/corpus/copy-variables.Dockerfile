FROM busybox
ARG src=a dst=/b owner=7:8 mode=0600
COPY --chown=$owner --chmod=$mode ${src}/* $dst/
