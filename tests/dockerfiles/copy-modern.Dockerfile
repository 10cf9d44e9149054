FROM busybox
COPY --link a.txt /linked/
COPY --parents dir/deep/c.txt /par/
COPY --exclude=*.log --exclude=deep dir /ex/
COPY --chmod=640 b.txt /mode
