FROM busybox
RUN <<EOF
set -e
echo one
echo two
EOF
RUN <<'SCRIPT'
#!/bin/sh
echo "$0"
SCRIPT
RUN <<-EOT
	echo tabs
EOT
RUN cat <<A >/a && cat <<B >/b
a $HOME
A
b
B
