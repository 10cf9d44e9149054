#!/usr/bin/env dockerfile
# syntax=example/frontend
FROM busybox
