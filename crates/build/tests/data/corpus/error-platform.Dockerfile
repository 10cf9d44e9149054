FROM --platform=linux/what/ever/else busybox
