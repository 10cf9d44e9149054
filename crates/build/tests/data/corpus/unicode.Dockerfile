FROM busybox
ENV grüße="schöne Welt"
LABEL 名=値
COPY täst /ü/
