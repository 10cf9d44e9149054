FROM busybox
ARG who=world
COPY <<EOF /hello
hello $who, it's "quoted"
EOF
COPY <<"raw" <<-tabs /dir/
$who stays
raw
	no tab here
	tabs
ADD --chmod=755 --chown=1:2 <<run.sh /usr/bin/
#!/bin/sh
run.sh
