FROM busybox
COPY https://example.org/x /x
