FROM busybox
RUN echo '* * * * * root "x y"' > /etc/cron.d/x; echo "\$HOME" `date`
CMD ["sh", "-c", "echo \"quoted\" 'single' \\ back"]
