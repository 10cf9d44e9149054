FROM busybox
MAINTAINER Some One <x@example.com>
