FROM busybox
HEALTHCHECK --interval=5m --timeout=3s --start-period=10s --start-interval=500ms --retries=5 CMD ["probe"]
