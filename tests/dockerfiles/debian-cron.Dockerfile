# Files whose modes and owners matter to who reads them.
FROM debian
COPY --chown=0:0 a.txt /etc/cron.d/job
COPY --chown=root:www-data b.txt /etc/secret.conf
RUN chmod 0644 /etc/cron.d/job && chmod 0440 /etc/secret.conf && \
    mkdir -m 0700 /root/.keys && touch /root/.keys/id && chmod 0400 /root/.keys/id && \
    mkdir -m 1733 /var/spool/drop
