FROM busybox
ARG W=world
RUN <<EOF
echo one > /one
echo two > /two
EOF
COPY <<EOF /expanded
hello $W
EOF
COPY <<"EOF" /literal
hello $W
EOF
COPY <<A <<B /many/
a
A
b
B
RUN <<-EOT
	echo tabs > /tabs
EOT
