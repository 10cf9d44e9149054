FROM busybox
LABEL "com.example.vendor"="ACME Incorporated" version="1.0"
LABEL description="This text illustrates \
that label-values can span multiple lines."
LABEL multi.a="x" multi.b=y\ z
LABEL legacy some text
