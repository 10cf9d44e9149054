FROM busybox
RUN <<EOF
#!/bin/busybox sh
echo $0 | cut -c1-4 > /script
EOF
ADD <<EOF /added
x
EOF
