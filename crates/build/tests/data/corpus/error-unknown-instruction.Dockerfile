FROM busybox
COYP a b
